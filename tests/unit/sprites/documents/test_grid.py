from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from lib.errors import Invalid
from lib.sprites import Manifest
from lib.sprites.documents import grid
from tests.unit.sprites.documents.sprites import define, sprite, sprites


@given(sprites())
def test_it_tells_time_and_place_of_every_tile(made: Manifest) -> None:
    told = grid.of(made)
    assert told.count == len(made.tiles)
    for tile in made.tiles:
        assert abs(float(told.step * tile.index) - tile.instant) < 2e-6
        number, cell = divmod(tile.index, told.cells)
        row, column = divmod(cell, told.columns)
        assert (number, column * told.width, row * told.height) == (tile.sheet, tile.x, tile.y)
    assert told.end >= made.source.duration - 1e-5, "the last slot holds the end of the video"


def test_tiles_off_the_grid_are_refused() -> None:
    made = sprite(define(), 100)
    for field, value in (("instant", 31.0), ("x", 1), ("sheet", 1)):
        moved = (*made.tiles[:3], replace(made.tiles[3], **{field: value}), *made.tiles[4:])
        with pytest.raises(Invalid, match="tiles.3"):
            grid.of(replace(made, tiles=moved))


def test_bandwidth_is_the_peak_of_the_sheets() -> None:
    # GIVEN a sheet of 100 tiles and one of 24, ten seconds each
    made = sprite(define(), 1234)
    sizes = {"sprite_0.jpg": 100_000, "sprite_1.jpg": 60_000}
    assert grid.bandwidth(made, grid.of(made), sizes) == 60_000 * 8 // 240
