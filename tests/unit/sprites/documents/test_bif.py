"""The file is read back by a reader of its own, written from the public description of the format."""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from PIL import Image

from lib.errors import Invalid
from lib.sprites import Manifest
from lib.sprites.documents import bif
from tests.unit.sprites.documents.sprites import color, define, draw_sheet, sprite, sprites


@dataclass(frozen=True)
class Picture:
    time: int  # milliseconds
    image: Image.Image


def read(data: bytes) -> list[Picture]:
    assert data[:8] == bytes([0x89, 0x42, 0x49, 0x46, 0x0D, 0x0A, 0x1A, 0x0A])
    version, count, unit = struct.unpack_from("<III", data, 8)
    assert version == 0
    assert data[20:64] == bytes(44), "reserved"
    entries = [struct.unpack_from("<II", data, 64 + 8 * number) for number in range(count + 1)]
    assert entries[-1] == (0xFFFFFFFF, len(data))
    assert entries[0][1] == 64 + 8 * (count + 1)
    pictures = []
    for (time, start), (_, end) in itertools.pairwise(entries):
        assert start < end
        image = Image.open(io.BytesIO(data[start:end]))
        assert image.format == "JPEG"
        pictures.append(Picture(time * (unit or 1000), image))
    assert all(one.time < other.time for one, other in itertools.pairwise(pictures))
    return pictures


def rendered(manifest: Manifest) -> bytes:
    return bif.render(manifest, lambda name: draw_sheet(manifest, name))


@settings(max_examples=10, deadline=None)
@given(sprites(most=130))
def test_every_tile_is_there_at_its_time(made: Manifest) -> None:
    pictures = read(rendered(made))
    assert [picture.time for picture in pictures] == [round(tile.instant * 1000) for tile in made.tiles]
    for tile, picture in zip(made.tiles, pictures, strict=True):
        assert picture.image.size == (tile.width, tile.height)
        middle = picture.image.convert("RGB").getpixel((tile.width // 2, tile.height // 2))
        assert isinstance(middle, tuple)
        assert all(abs(one - other) <= 6 for one, other in zip(middle, color(tile.index), strict=True))


def test_the_unit_of_time_is_the_interval_where_it_can_be() -> None:
    whole = rendered(sprite(define(interval=7.5), 60))
    assert struct.unpack_from("<III", whole, 8) == (0, 9, 7500)
    assert [struct.unpack_from("<I", whole, 64 + 8 * number)[0] for number in range(9)] == list(range(9))
    # A third of 10 s is no whole number of milliseconds
    thirds = rendered(sprite(define(interval=100 / 3, sampling="percent"), 10))
    assert struct.unpack_from("<I", thirds, 16) == (1,)
    assert [picture.time for picture in read(thirds)] == [0, 3333, 6667]


def test_a_sheet_of_another_size_is_refused() -> None:
    made = sprite(define(), 100)
    other = replace(made, sheets=(replace(made.sheets[0], width=10),))
    with pytest.raises(Invalid, match="sheets.0"):
        bif.render(other, lambda _: draw_sheet(made, made.sheets[0].name))


def test_a_manifest_without_tiles_is_refused() -> None:
    with pytest.raises(Invalid, match="tiles"):
        rendered(replace(sprite(define(), 1), tiles=()))
