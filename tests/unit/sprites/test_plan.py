from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lib.errors import TooLarge
from lib.sprites import PRESET_10, Definition, plan

HD = (1920, 1080)
sizes = st.tuples(st.integers(1, 9000), st.integers(1, 9000))
milliseconds = st.integers(1, 40_000).map(lambda value: Fraction(value, 1000))
durations = st.fractions(0, 3600, max_denominator=90000)


def by_time(interval: float) -> Definition:
    return replace(PRESET_10, interval=interval)


@pytest.mark.parametrize(
    ("duration", "interval", "count"),
    [
        ("30.093", 10.0, 4),
        ("30", 10.0, 4),
        ("29.999", 10.0, 3),
        ("30", 0.1, 301),
        ("0.3", 0.1, 4),
        ("0", 10.0, 1),
        ("0.04", 10.0, 1),
    ],
)
def test_tiles_by_time(duration: str, interval: float, count: int) -> None:
    assert plan.make(by_time(interval), Fraction(duration), HD).count == count


@pytest.mark.parametrize(("percent", "count"), [(10.0, 10), (33.0, 4), (100.0, 1), (0.1, 1000), (1.0, 100)])
def test_tiles_by_percent(percent: float, count: int) -> None:
    definition = replace(PRESET_10, sampling="percent", interval=percent)
    made = plan.make(definition, Fraction(50), HD)
    assert made.count == count
    assert made.instants[-1] < 50
    assert made.instants[-1] == Fraction(str(percent)) * (count - 1) / 2


@given(durations, milliseconds)
def test_instants_cover_the_duration_and_no_more(duration: Fraction, interval: Fraction) -> None:
    assume(duration / interval < plan.MAX_TILES - 1)
    made = plan.make(by_time(float(interval)), duration, HD)
    assert made.instants[0] == 0
    assert made.instants[-1] <= duration < made.instants[-1] + interval
    assert len(made.instants) == made.count


@given(durations.filter(bool), st.integers(1, 1000).map(lambda value: value / 10))
def test_percents_stay_below_a_hundred(duration: Fraction, percent: float) -> None:
    made = plan.make(replace(PRESET_10, sampling="percent", interval=percent), duration, HD)
    assert made.instants[-1] < duration <= made.instants[-1] + made.step


def test_too_many_tiles_are_refused_with_the_number() -> None:
    with pytest.raises(TooLarge, match="3600 s has 3600001 tiles"):
        plan.make(by_time(0.001), Fraction(3600), HD)


@given(sizes, st.integers(1, 10), st.integers(1, 10), st.integers(1, 250))
def test_tiles_lie_on_their_sheet_side_by_side(size: plan.Size, rows: int, columns: int, count: int) -> None:
    definition = Definition(number=1, name="x", width=0, height=0, rows=rows, columns=columns, interval=1)
    made = plan.make(definition, Fraction(count - 1), size)
    places = set()
    left = made.count
    for first, batch in made.batches(made.instants):
        width, height = made.sheet_size(len(batch))
        assert width <= 15000
        assert height <= 15000
        assert width == made.columns * made.tile[0]
        for index in range(first, first + len(batch)):
            x, y = made.place(index)
            assert x % made.tile[0] == y % made.tile[1] == 0
            assert x + made.tile[0] <= width
            assert y + made.tile[1] <= height
            places.add((first, x, y))
        assert y + made.tile[1] == height, "no row without tiles"
        left -= len(batch)
    assert left == 0
    assert len(places) == made.count, "no two tiles in one place"


def test_tiles_go_left_to_right_then_down() -> None:
    made = plan.make(PRESET_10, Fraction(2000), HD)
    assert [made.place(index) for index in (0, 1, 9, 10, 99, 100)] == [
        (0, 0),
        (142, 0),
        (1278, 0),
        (0, 80),
        (1278, 720),
        (0, 0),
    ]


@pytest.mark.parametrize(
    ("width", "height", "display", "tile"),
    [
        (142, 80, HD, (142, 80)),
        (142, 80, (1080, 1920), (80, 142)),
        (142, 80, (500, 500), (142, 80)),
        (0, 0, (853, 481), (853, 481)),
        (0, 0, (8192, 4096), (4096, 2048)),
        (160, 0, HD, (160, 90)),
        (0, 90, HD, (160, 90)),
        (160, 0, (1080, 1920), (90, 160)),
        (160, 0, (720, 405), (160, 90)),
        (8, 0, (8000, 9), (8, 2)),
    ],
)
def test_tile_size(width: int, height: int, display: plan.Size, tile: plan.Size) -> None:
    assert plan.tile_size(replace(PRESET_10, width=width, height=height), display) == tile


def test_without_adaption_a_tile_stays_as_it_is_defined() -> None:
    assert plan.tile_size(replace(PRESET_10, resolution_adaptive=False), (1080, 1920)) == (142, 80)


def test_large_tiles_make_smaller_sheets_instead_of_none() -> None:
    made = plan.make(replace(PRESET_10, width=0, height=0), Fraction(990), (3840, 2160))
    assert made.count == 100
    assert made.columns * 3840 <= 15000
    assert made.rows * 2160 <= 15000
    assert made.columns * made.rows * 3840 * 2160 <= plan.MAX_SHEET_PIXELS


@given(
    sizes, st.tuples(st.integers(8, 400), st.integers(8, 400)), st.sampled_from(["black", "white", "gauss"])
)
def test_a_picture_fits_and_lies_in_the_middle(picture: plan.Size, tile: plan.Size, fill: str) -> None:
    width, height = plan.fit(picture, tile, fill)
    assert 1 <= width <= tile[0]
    assert 1 <= height <= tile[1]
    assert (tile[0] - width) % 2 == (tile[1] - height) % 2 == 0
    scale = min(Fraction(tile[0], picture[0]), Fraction(tile[1], picture[1]))
    assert abs(width - picture[0] * scale) <= 2
    assert abs(height - picture[1] * scale) <= 2
    assert width == tile[0] or height == tile[1]


def test_stretch_fills_the_tile() -> None:
    assert plan.fit((100, 3000), (142, 80), "stretch") == (142, 80)
