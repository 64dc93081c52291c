"""Manifests as the engine's own plan makes them, with no video behind them, and pictures to go with them."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from lib.sprites import Definition, Manifest, Read, SheetEntry, Source, Tile, plan


class Made(Manifest):
    """Named by what it was made of where a test fails on it."""

    def __repr__(self) -> str:
        what = {name: self.definition[name] for name in ("sampling", "interval", "columns", "rows")}
        return f"sprite(define(**{what}), {self.source.duration}, {self.sheets[0].name!r})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


def sprite(definition: Definition, duration: float, name: str = "sprite_{}.jpg") -> Manifest:
    """The manifest of a video of 1920x1080 that lasts so many seconds."""
    made = plan.make(definition, Fraction(str(duration)), (1920, 1080))
    tiles: list[Tile] = []
    sheets: list[SheetEntry] = []
    for first, instants in made.batches(made.instants):
        for index, instant in enumerate(instants, first):
            time = round(float(instant), 6)
            x, y = made.place(index)
            tiles.append(Tile(index, time, time, len(sheets), x, y, *made.tile, "#102030"))
        sheets.append(SheetEntry(name.format(len(sheets)), *made.sheet_size(len(instants)), len(instants)))
    source = Source(None, None, "e" * 32, 1000, duration, 1920, 1080, 0, "h264", "mp4")
    return Made(
        "complete",
        1.0,
        "auto",
        0.5,
        0,
        source,
        definition.to_dict(),
        tuple(sheets),
        tuple(tiles),
        Read(1000, 3),
    )


def define(**fields: object) -> Definition:
    return Definition.from_dict({"number": 1, "name": "test"} | fields)


NAMES = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=12)


@st.composite
def sprites(draw: st.DrawFn, most: int = 3600) -> Manifest:
    """One to `most` tiles, whole and fractional steps, one sheet and many, names of all kinds."""
    columns = draw(st.integers(1, 10))
    rows = draw(st.integers(1, 10))
    if draw(st.booleans()):
        interval = draw(st.integers(1, 60_000)) / 1000
        count = draw(st.integers(1, most))
        duration = round(interval * (count - 1 + draw(st.floats(0, 0.999))), 6)
        definition = define(interval=interval, columns=columns, rows=rows)
    else:
        interval = max(draw(st.integers(1, 1000)) / 10, 100 / most)
        duration = draw(st.integers(5_000_000, 36_000_000_000)) / 1_000_000
        definition = define(sampling="percent", interval=interval, columns=columns, rows=rows)
    return sprite(definition, duration, draw(NAMES) + "_{}.jpg")


def color(index: int) -> tuple[int, int, int]:
    """Of a tile: far enough from those of its neighbours to survive JPEG."""
    return index * 83 % 256, index * 29 % 256, index * 151 % 256


def draw_sheet(manifest: Manifest, name: str) -> bytes:
    """The sheet, each tile in the colour of its index."""
    number = [sheet.name for sheet in manifest.sheets].index(name)
    sheet = manifest.sheets[number]
    image = Image.new("RGB", (sheet.width, sheet.height))
    for tile in manifest.tiles:
        if tile.sheet == number:
            image.paste(color(tile.index), (tile.x, tile.y, tile.x + tile.width, tile.y + tile.height))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
