from __future__ import annotations

import math
import re
import zlib
from xml.etree import ElementTree

import pytest
from hypothesis import given

from lib.errors import Invalid
from lib.sprites import Manifest
from lib.sprites.documents import dash
from lib.sprites.documents.addresses import relative
from tests.unit.sprites.documents.sprites import define, sprite, sprites

NAMESPACE = "{urn:mpeg:dash:schema:mpd:2011}"


def only(tree: ElementTree.Element, name: str) -> ElementTree.Element:
    (found,) = tree.iter(NAMESPACE + name)
    return found


def urls(segments: ElementTree.Element, count: int) -> list[str]:
    first = int(segments.attrib["startNumber"])
    values = {"$$": "$"}
    return [
        re.sub(
            r"\$(Number)?\$",
            lambda found, number=number: values.get(found[0], str(number)),
            segments.attrib["media"],
        )
        for number in range(first, first + count)
    ]


@given(sprites())
def test_every_sheet_is_a_segment_of_the_full_length(made: Manifest) -> None:
    tree = ElementTree.fromstring(dash.render(made))
    template = only(tree, "SegmentTemplate")
    assert urls(template, len(made.sheets)) == [relative(sheet.name) for sheet in made.sheets]
    duration, timescale = int(template.attrib["duration"]), int(template.attrib["timescale"])
    assert max(duration, timescale) < 2**32
    starts = [tile.instant for tile in made.tiles if (tile.x, tile.y) == (0, 0)]
    for number, start in enumerate(starts):
        assert abs(number * duration / timescale - start) < 1e-3
    tiles = only(tree, "EssentialProperty")
    assert tiles.attrib["schemeIdUri"] == "http://dashif.org/guidelines/thumbnail_tile"
    columns, rows = map(int, tiles.attrib["value"].split("x"))
    whole = only(tree, "Representation").attrib
    assert int(whole["width"]) == columns * made.tiles[0].width == made.sheets[0].width
    assert int(whole["height"]) == rows * made.tiles[0].height == made.sheets[0].height
    assert math.ceil(len(made.tiles) / (columns * rows)) == len(made.sheets)


def test_several_sheets_that_are_not_counted_are_refused() -> None:
    def signed(name: str) -> str:
        return f"https://media.example/{name}?q-signature={zlib.crc32(name.encode())}"

    with pytest.raises(Invalid, match="address"):
        dash.render(sprite(define(), 1234), signed)
    # One alone needs no number
    tree = ElementTree.fromstring(dash.render(sprite(define(), 15), signed))
    assert urls(only(tree, "SegmentTemplate"), 1) == [signed("sprite_0.jpg")]


def test_dollars_are_not_taken_for_identifiers() -> None:
    made = sprite(define(), 15)
    tree = ElementTree.fromstring(dash.render(made, lambda name: f"https://a.example/$Time$/{name}"))
    assert urls(only(tree, "SegmentTemplate"), 1) == ["https://a.example/$Time$/sprite_0.jpg"]
