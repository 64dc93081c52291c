from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given

from lib.errors import Invalid
from lib.sprites import Manifest
from lib.sprites.documents import storyboard
from lib.sprites.documents.addresses import below
from tests.unit.sprites.documents.sprites import define, sprite, sprites

ADDRESS = below("https://media.example/a/10")


def test_one_sheet_is_a_storyboard_of_mux() -> None:
    assert json.loads(storyboard.render(sprite(define(), 15.5), ADDRESS)) == {
        "url": "https://media.example/a/10/sprite_0.jpg",
        "tile_width": 142,
        "tile_height": 80,
        "duration": 15.5,
        "tiles": [{"start": 0, "x": 0, "y": 0}, {"start": 10, "x": 142, "y": 0}],
    }


@given(sprites())
def test_every_tile_is_in_it(made: Manifest) -> None:
    told = json.loads(storyboard.render(made, ADDRESS))
    if len(made.sheets) == 1:
        found = [(told["url"], each["start"], each["x"], each["y"]) for each in told["tiles"]]
    else:
        found = [(one["url"], one["startTime"], one["coords"]["x"], one["coords"]["y"]) for one in told]
        assert all(one["endTime"] == other["startTime"] for one, other in itertools.pairwise(told))
        assert told[-1]["endTime"] > made.source.duration
    assert found == [
        (ADDRESS(made.sheets[tile.sheet].name), round(tile.instant * 1000) / 1000, tile.x, tile.y)
        for tile in made.tiles
    ]


def test_a_manifest_without_tiles_is_refused() -> None:
    with pytest.raises(Invalid, match="tiles"):
        storyboard.render(replace(sprite(define(), 1), tiles=()), ADDRESS)
