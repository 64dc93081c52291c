"""Real videos: their times, their shapes, and no garbage."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from lib.sprites import PRESET_10, Manifest, capture
from lib.sprites.documents import webvtt
from lib.sprites.sheets import Sheet
from tests.videos import Bytes

MEDIA = Path(__file__).parents[1] / "media"

# name: duration, frames that instants 0, 1 and the last are shown as, stored size, size shown in a 142x80 tile
FACTS = {
    "bikes.mp4": (10.0, (0, 1, 9.96), (640, 272), (142, 60)),
    "bigbuckbunny.mp4": (5.28, (0, 1, 5), (1280, 720), (142, 80)),
    "carphone.mp4": (4.004, (0, 0.967633, 3.970633), (176, 144), (108, 80)),
    "start-offset-1080p.mp4": (1.042708, (0.083417, 0.959292, 0.959292), (1920, 1080), (142, 80)),
    "sintel-captions.ts": (10.119, (0.119, 0.994, 9.994), (400, 170), (142, 60)),
    "city.mpg": (7.6, (0, 1, 7), (720, 405), (142, 80)),
}


def run(name: str, **changes: object) -> tuple[Manifest, list[Sheet]]:
    sheets: list[Sheet] = []
    definition = replace(PRESET_10, **changes)  # type: ignore[arg-type]
    manifest = capture(
        Bytes((MEDIA / name).read_bytes()),
        definition,
        sheet_name=lambda n: f"sprite_{n}.{definition.format}",
        emit=sheets.append,
        source={},
    )
    return manifest, sheets


@pytest.mark.parametrize("name", FACTS)
def test_times(name: str) -> None:
    duration, (first, second, last), size, _ = FACTS[name]
    manifest, _ = run(name, interval=1, accuracy="exact")
    assert manifest.outcome == "complete"
    assert manifest.source.duration == pytest.approx(duration, abs=1e-6)
    assert (manifest.source.width, manifest.source.height) == size
    frames = [tile.frame for tile in manifest.tiles]
    assert (frames[0], frames[1], frames[-1]) == pytest.approx((first, second, last), abs=1e-6)
    assert len(frames) == int(duration) + 1


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("accuracy", ["auto", "exact", "keyframe"])
def test_each_tile_looks_like_its_frame(name: str, accuracy: str) -> None:
    """The frame at the time that the manifest names, decoded from the beginning and scaled by Pillow."""
    manifest, sheets = run(name, interval=1, accuracy=accuracy, format="png")
    width, height = FACTS[name][3]
    with av.open(str(MEDIA / name)) as container:
        stream = container.streams.video[0]
        starts = [each.start_time * each.time_base for each in container.streams if each.time_base]
        pictures = {
            round(float(frame.pts * stream.time_base - min(starts)), 6): frame.to_image().resize(
                (width, height), Image.Resampling.BOX
            )
            for frame in container.decode(stream)
        }
    sheet = Image.open(io.BytesIO(sheets[0].data))
    for tile in manifest.tiles:
        left, top = tile.x + (142 - width) // 2, tile.y + (80 - height) // 2
        shown = sheet.crop((left, top, left + width, top + height))
        difference = ImageStat.Stat(ImageChops.difference(shown, pictures[tile.frame]).convert("L")).mean[0]
        assert difference < 9, f"tile {tile.index}"
        # AND what is around it is black
        whole = sheet.crop((tile.x, tile.y, tile.x + 142, tile.y + 80))
        whole.paste("black", (left - tile.x, top - tile.y, left - tile.x + width, top - tile.y + height))
        assert whole.getbbox() is None


def test_definition_10_of_ten_seconds() -> None:
    manifest, sheets = run("bikes.mp4")
    assert [tile.instant for tile in manifest.tiles] == [0, 10]
    assert (sheets[0].content_type, sheets[0].width, sheets[0].height) == ("image/jpeg", 1420, 80)
    assert Image.open(io.BytesIO(sheets[0].data)).size == (1420, 80)
    assert "00:00:10.000 --> 00:00:20.000\nsprite_0.jpg#xywh=142,0,142,80\n" in webvtt.render(manifest)


@pytest.mark.parametrize(
    ("format", "kind", "content_type"),
    [("jpg", "JPEG", "image/jpeg"), ("png", "PNG", "image/png"), ("webp", "WEBP", "image/webp")],
)
def test_formats(format: str, kind: str, content_type: str) -> None:
    _, (sheet,) = run("bikes.mp4", format=format, interval=4)
    image = Image.open(io.BytesIO(sheet.data))
    assert (image.format, sheet.content_type) == (kind, content_type)
    assert image.size == (sheet.width, sheet.height)


def test_quality_makes_the_difference() -> None:
    sizes = [len(run("bikes.mp4", quality=quality, interval=2)[1][0].data) for quality in (20, 60, 95)]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(("width", "sampling"), [(142, (1, 1)), (160, (2, 2))])
def test_colours_do_not_bleed_between_tiles(width: int, sampling: tuple[int, int]) -> None:
    _, (sheet,) = run("bikes.mp4", width=width, interval=5)
    image = Image.open(io.BytesIO(sheet.data))
    assert image.layer[0][1:3] == sampling  # type: ignore[attr-defined]


def test_the_source_size() -> None:
    manifest, sheets = run("carphone.mp4", width=0, height=0, interval=2)
    # square pixels: 176 x 128/117 is 192.5
    assert {(tile.width, tile.height) for tile in manifest.tiles} == {(193, 144)}
    assert [(sheet.width, sheet.height) for sheet in sheets] == [(1930, 144)]
    manifest, sheets = run("start-offset-1080p.mp4", width=0, height=0, interval=0.1, accuracy="keyframe")
    assert len(manifest.tiles) == 11
    assert max(sheet.width for sheet in sheets) <= 15000


def test_the_poster_shows_something() -> None:
    """GIVEN a film that fades in from black THEN its poster is not one of the black tiles."""
    manifest, _ = run("sintel-captions.ts", interval=1)
    assert manifest.poster >= 5
    assert manifest.tiles[manifest.poster].color > "#505050"
    assert manifest.tiles[0].color < "#030303"


@pytest.mark.parametrize("fill", ["white", "gauss", "stretch"])
def test_fills(fill: str) -> None:
    _, (sheet,) = run("bikes.mp4", fill=fill, interval=5, format="png")
    image = Image.open(io.BytesIO(sheet.data))
    edge = image.crop((0, 0, 142, 8))
    mean = ImageStat.Stat(edge.convert("L")).mean[0]
    if fill == "white":
        assert edge.getextrema() == ((255, 255),) * 3
    elif fill == "gauss":
        picture = ImageStat.Stat(image.crop((0, 10, 142, 70)).convert("L"))
        assert abs(mean - picture.mean[0]) < 40
        assert ImageStat.Stat(edge.convert("L")).stddev[0] < picture.stddev[0]
    else:
        assert mean > 10
