"""The index is checked with a parser of its own, as strict as the strictest of the players."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

import pytest
from hypothesis import given

from lib.errors import Invalid
from lib.sprites import Manifest
from lib.sprites.documents import webvtt
from tests.unit.sprites.manifests import manifest, manifests

CLOCK = re.compile(r"^(\d\d):([0-5]\d):([0-5]\d)\.(\d{3})$")
PAYLOAD = re.compile(r"^([A-Za-z0-9._~%-]+)#xywh=(\d+),(\d+),(\d+),(\d+)$")


@dataclass(frozen=True)
class Cue:
    start: int  # milliseconds
    end: int
    sheet: str
    box: tuple[int, ...]


def parse(text: str) -> list[Cue]:
    """Only the subset that every player reads; everything else is an assertion."""
    assert text.isascii(), "neither a byte order mark nor letters that were not encoded"
    assert "\r" not in text
    assert "\n\n\n" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    header, *blocks = text[:-1].split("\n\n")
    assert header == "WEBVTT"
    assert blocks, "players fail without cues"
    cues = []
    for block in blocks:
        times, payload = block.split("\n")
        start, arrow, end = times.split(" ")
        assert arrow == "-->"
        place = PAYLOAD.match(payload)
        assert place, payload
        cues.append(Cue(_read(start), _read(end), place[1], tuple(int(each) for each in place.groups()[1:])))
    assert cues[0].start == 0
    for one, next_one in itertools.pairwise(cues):
        assert one.start < one.end == next_one.start
    assert cues[-1].start < cues[-1].end
    assert len({cue.box[2:] for cue in cues}) == 1, "one size of tiles"
    return cues


def _read(clock: str) -> int:
    match = CLOCK.match(clock)
    assert match, clock
    hours, minutes, seconds, rest = map(int, match.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def test_the_text_itself() -> None:
    assert webvtt.render(manifest(3, duration=25.5)) == (
        "WEBVTT\n"
        "\n"
        "00:00:00.000 --> 00:00:10.000\n"
        "sprite_0.jpg#xywh=0,0,142,80\n"
        "\n"
        "00:00:10.000 --> 00:00:20.000\n"
        "sprite_0.jpg#xywh=142,0,142,80\n"
        "\n"
        "00:00:20.000 --> 00:00:30.000\n"
        "sprite_0.jpg#xywh=284,0,142,80\n"
    )


@given(manifests())
def test_every_tile_has_its_cue(made: Manifest) -> None:
    cues = parse(webvtt.render(made))
    assert [cue.start for cue in cues] == [round(tile.instant * 1000) for tile in made.tiles]
    assert [cue.box for cue in cues] == [(tile.x, tile.y, tile.width, tile.height) for tile in made.tiles]
    assert [unquote(cue.sheet) for cue in cues] == [made.sheets[tile.sheet].name for tile in made.tiles]


@given(manifests())
def test_the_last_cue_reaches_past_the_end(made: Manifest) -> None:
    last = parse(webvtt.render(made))[-1]
    step = made.tiles[1].instant if len(made.tiles) > 1 else 0
    grid = round((made.tiles[-1].instant + step) * 1000)
    assert last.end == max(grid, (math.ceil(made.source.duration) + 1) * 1000)
    assert last.end > made.source.duration * 1000


def test_fractions_of_seconds_and_of_milliseconds() -> None:
    cues = parse(webvtt.render(manifest(4, step=7.5)))
    assert [cue.start for cue in cues] == [0, 7500, 15000, 22500]
    # WHEN tiles are closer than a millisecond THEN those that no player could tell apart are left out
    close = parse(webvtt.render(manifest(10, step=0.00025)))
    assert [cue.start for cue in close] == [0, 1, 2]


def test_names_are_encoded_and_stay_plain() -> None:
    name = "视频 a#b?c&d/e%20_{}.jpg"
    cues = parse(webvtt.render(manifest(1, name=name)))
    assert "/" not in cues[0].sheet
    assert unquote(cues[0].sheet) == name.format(0)


def test_hours_never_have_three_digits() -> None:
    cues = parse(webvtt.render(manifest(102, step=3600.0, duration=101 * 3600.0)))
    assert cues[-1].start == 99 * 3_600_000
    assert cues[-1].end == 100 * 3_600_000 - 1


def test_an_index_of_nothing_is_refused() -> None:
    with pytest.raises(Invalid, match="tiles"):
        webvtt.render(replace(manifest(1), tiles=()))
