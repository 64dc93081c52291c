"""The video of `make demo`: a real one, with scenes that differ and a clock."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

from lib.local import demo_video
from lib.sprites import PRESET_10, capture
from lib.sprites.sheets import Sheet
from tests.videos import Bytes


def test_the_demo_video_is_worth_a_sprite(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = demo_video.make(
        tmp_path / "demo.mp4", seconds=14, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 280) for done in range(1, 281)]
    sheets: list[Sheet] = []
    manifest = capture(
        Bytes(path.read_bytes()),
        replace(PRESET_10, interval=4, accuracy="exact", format="png"),
        sheet_name=str,
        emit=sheets.append,
        source={},
    )
    assert manifest.source.duration == 14
    assert (manifest.source.width, manifest.source.height, manifest.source.codec) == (1280, 720, "h264")
    assert [tile.frame for tile in manifest.tiles] == [0, 4, 8, 12]
    image = Image.open(io.BytesIO(sheets[0].data))
    tiles = [image.crop((tile.x, tile.y, tile.x + 142, tile.y + 80)) for tile in manifest.tiles]
    for number, one in enumerate(tiles):
        for other in tiles[number + 1 :]:
            assert ImageStat.Stat(ImageChops.difference(one, other)).mean[0] > 2
    # AND the index lies in front, as in videos made for the web
    assert path.read_bytes().index(b"moov") < 100
