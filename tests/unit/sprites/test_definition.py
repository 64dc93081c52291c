from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import Invalid
from lib.sprites import PRESET_10, Definition


def test_preset_10_is_what_vod_documents() -> None:
    preset = PRESET_10
    assert (preset.number, preset.format, preset.width, preset.height) == (10, "jpg", 142, 80)
    assert (preset.rows, preset.columns, preset.sampling, preset.interval) == (10, 10, "time", 10)
    assert (preset.fill, preset.accuracy) == ("black", "auto")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("number", "10", "whole number"),
        ("name", 7, "text"),
        ("width", 7, "between 8 and 4096 or 0"),
        ("height", 4097, "between 8 and 4096 or 0"),
        ("height", True, "whole number"),
        ("rows", 0, "between 1 and 100"),
        ("rows", 11, "more than 100 tiles"),
        ("columns", 101, "between 1 and 100"),
        ("sampling", "count", "time, percent"),
        ("interval", 0, "between 0.001"),
        ("interval", -1.5, "between 0.001"),
        ("interval", float("nan"), "between 0.001"),
        ("interval", float("inf"), "between 0.001"),
        ("interval", "10", "a number"),
        ("fill", "red", "black, stretch, white, gauss"),
        ("format", "jpeg", "jpg, png, webp"),
        ("accuracy", "best", "auto, exact, keyframe"),
        ("tolerance", -1, "between 0"),
        ("quality", 0, "between 1 and 100"),
        ("resolution_adaptive", 1, "true or false"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(field: str, value: Any, told: str) -> None:
    with pytest.raises(Invalid) as error:
        Definition.from_dict({**PRESET_10.to_dict(), field: value})
    assert error.value.field == field
    assert told in error.value.problem


def test_a_sheet_wider_than_its_limit_is_refused() -> None:
    with pytest.raises(Invalid, match="columns: 10 columns of 2000 px are 20000 px"):
        Definition(number=1, name="wide", width=2000)
    with pytest.raises(Invalid, match="rows: "):
        Definition(number=1, name="tall", height=2000)


def test_more_than_a_hundred_percent_is_no_interval() -> None:
    with pytest.raises(Invalid, match="interval"):
        Definition(number=1, name="x", sampling="percent", interval=101)


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(Invalid, match="colour: is not a field"):
        Definition.from_dict({"number": 1, "name": "x", "colour": 1})
    with pytest.raises(Invalid, match="name: is missing"):
        Definition.from_dict({"number": 1})


@given(
    st.builds(
        Definition,
        number=st.integers(),
        name=st.text(),
        width=st.just(0) | st.integers(8, 1500),
        height=st.just(0) | st.integers(8, 1500),
        rows=st.integers(1, 10),
        columns=st.integers(1, 10),
        sampling=st.sampled_from(["time", "percent"]),
        interval=st.floats(0.001, 100),
        tolerance=st.none() | st.floats(0, 100),
    )
)
def test_a_definition_survives_its_dictionary(definition: Definition) -> None:
    assert Definition.from_dict(definition.to_dict()) == definition
