from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import Invalid
from lib.sprites import Manifest
from tests.unit.sprites.manifests import manifest, manifests


def test_the_contract_of_version_1() -> None:
    """These names are public: players and scripts read them."""
    values = json.loads(manifest(2).to_json())
    assert sorted(values) == sorted(
        [
            "version",
            "outcome",
            "coverage",
            "accuracy",
            "max_error",
            "poster",
            "source",
            "definition",
            "sheets",
            "tiles",
            "documents",
            "read",
        ]
    )
    assert values["version"] == 1
    assert sorted(values["source"]) == sorted(
        ["bucket", "key", "etag", "size", "duration", "width", "height", "rotation", "codec", "container"]
    )
    assert sorted(values["sheets"][0]) == sorted(["name", "width", "height", "tiles"])
    assert sorted(values["tiles"][0]) == sorted(
        ["index", "instant", "frame", "sheet", "x", "y", "width", "height", "color"]
    )
    assert values["documents"] == {"vtt": "thumbnails.vtt"}
    assert sorted(values["read"]) == ["bytes", "requests"]


@given(manifests())
def test_it_survives_json(made: Manifest) -> None:
    assert Manifest.from_json(made.to_json()) == made


def test_a_field_that_is_new_does_not_hurt() -> None:
    values = json.loads(manifest(1).to_json())
    values["scenes"] = []
    values["tiles"][0]["blurhash"] = "x"
    assert Manifest.from_json(json.dumps(values)) == manifest(1)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("version",), 2, "version"),
        (("outcome",), "done", "outcome"),
        (("coverage",), "1", "coverage"),
        (("poster",), True, "poster"),
        (("source", "size"), None, "source.size"),
        (("tiles", 1, "instant"), "0", "tiles.1.instant"),
        (("tiles", 1, "index"), 7, "tiles.1"),
        (("tiles", 0, "sheet"), 9, "tiles.0"),
        (("sheets",), {}, "sheets"),
        (("read",), [], "read"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str | int, ...], value: object, field: str) -> None:
    values = json.loads(manifest(2).to_json())
    place = values
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(Invalid) as error:
        Manifest.from_json(json.dumps(values))
    assert error.value.field == field


def test_a_missing_field_is_named() -> None:
    values = json.loads(manifest(1).to_json())
    del values["source"]["codec"]
    with pytest.raises(Invalid, match=r"source\.codec: is missing"):
        Manifest.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\0"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Manifest.from_json(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Manifest.from_json(text)


def test_text_of_all_scripts_is_kept() -> None:
    made = manifest(1)
    made = replace(made, source=replace(made.source, key="视频/ünïcode 🎬.mp4"))
    assert "视频" in made.to_json()
    assert Manifest.from_json(made.to_json()).source.key == "视频/ünïcode 🎬.mp4"
