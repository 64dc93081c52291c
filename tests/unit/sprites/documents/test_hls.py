from __future__ import annotations

import math
import re
from fractions import Fraction

from hypothesis import given

from lib.sprites import Manifest
from lib.sprites.documents import hls
from lib.sprites.documents.addresses import relative
from tests.unit.sprites.documents.sprites import define, sprite, sprites


def test_the_text_itself() -> None:
    # GIVEN 100 tiles on a full sheet and 24 on a cropped one
    made = sprite(define(), 1234)
    assert hls.render(made) == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-TARGETDURATION:1000\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-PLAYLIST-TYPE:VOD\n"
        "#EXT-X-IMAGES-ONLY\n"
        "#EXTINF:1000.000,\n"
        "#EXT-X-TILES:RESOLUTION=142x80,LAYOUT=10x10,DURATION=10.000\n"
        "sprite_0.jpg\n"
        "#EXTINF:240.000,\n"
        "#EXT-X-TILES:RESOLUTION=142x80,LAYOUT=10x10,DURATION=10.000\n"
        "sprite_1.jpg\n"
        "#EXT-X-ENDLIST\n"
    )
    sizes = {"sprite_0.jpg": 100_000, "sprite_1.jpg": 60_000}
    assert hls.stream_inf(made, "thumbnails.m3u8", sizes) == (
        '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=2000,RESOLUTION=142x80,CODECS="jpeg",URI="thumbnails.m3u8"'
    )


@given(sprites())
def test_the_sheets_follow_each_other_without_drift(made: Manifest) -> None:
    text = hls.render(made)
    lengths = [Fraction(length) for length in re.findall(r"^#EXTINF:([\d.]+),$", text, re.MULTILINE)]
    target = re.search(r"^#EXT-X-TARGETDURATION:(\d+)$", text, re.MULTILINE)
    assert target
    assert all(math.floor(length + Fraction(1, 2)) <= int(target[1]) for length in lengths)
    assert int(target[1]) < max(lengths) + 1
    names = [line for line in text.splitlines() if not line.startswith("#")]
    assert names == [relative(sheet.name) for sheet in made.sheets]
    start, first = Fraction(0), 0
    for length, sheet in zip(lengths, made.sheets, strict=True):
        assert abs(float(start) - made.tiles[first].instant) < 3e-6
        start, first = start + length, first + sheet.tiles
