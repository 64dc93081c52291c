"""What players make of the configurations is tested with the players (tests/integration/test_players.py)."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given

from lib.sprites import Manifest
from lib.sprites.documents import grid, snippets
from tests.unit.sprites.documents.sprites import define, sprite, sprites


def shown(duration: float, pictures: int, time: float) -> int:
    """The tile that xgplayer's getPosition chooses (plugins/common/thumbnail.js)."""
    interval = math.floor(duration / pictures + 0.5)
    index = math.ceil(time / interval) if interval else pictures
    return max(min(index, pictures) - 1, 0)


@given(sprites(most=400))
def test_the_error_of_xgplayer_is_what_is_said(made: Manifest) -> None:
    told, duration = grid.of(made), made.source.duration
    pictures, error = snippets.xgplayer(told, duration)
    assert 1 <= pictures <= len(made.tiles)
    step = float(told.step)
    for number in range(1, 400):
        time = duration * number / 400
        right = min(math.floor(time / step), told.count - 1)
        if abs(time / step - round(time / step)) > 1e-5:
            assert abs(shown(duration, pictures, time) - right) * step <= error + 1e-5


@pytest.mark.parametrize(("interval", "duration"), [(10, 1234.5), (1, 250), (5, 3600), (10, 95), (2, 7199)])
def test_whole_seconds_are_right_in_xgplayer(interval: float, duration: float) -> None:
    told = grid.of(sprite(define(interval=interval), duration))
    assert snippets.xgplayer(told, duration)[1] == 0


@given(sprites(most=300))
def test_no_name_gets_out_of_its_quotes(made: Manifest) -> None:
    for name, text in snippets.render(made).items():
        literal = re.search(r"[({ ]*(\{\"url.*\})", text)
        assert literal, name
        assert "urls" in json.loads(literal[1]) or "urlArray" in json.loads(literal[1])
        assert not set("<&'") & set(literal[1])


def test_quotes_of_addresses_are_escaped() -> None:
    made = sprite(define(), 15)
    for text in snippets.render(made, lambda name: f"https://a.example/o'b/{name}?a=1&b=2").values():
        assert "o\\u0027b/sprite_0.jpg?a=1\\u0026b=2" in text
