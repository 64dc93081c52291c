"""The plan: how many tiles, which instants they stand for, how large they are, how they lie on sheets.

Instants are exact fractions of seconds, so that no tile is lost or won by rounding (30 / 0.1 is 300).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from lib.errors import TooLarge
from lib.sprites.definition import MAX_SHEET_SIDE, MAX_SIDE, Definition

MAX_TILES = 50_000
"""Tiles of one sprite: a tile a second for almost fourteen hours."""
MAX_SHEET_PIXELS = 50_000_000
"""Of one sheet, whatever its sides: 150 MB while it is drawn."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    count: int
    step: Fraction
    """Seconds from one instant to the next."""
    tile: Size
    columns: int
    rows: int

    @property
    def per_sheet(self) -> int:
        return self.columns * self.rows

    @property
    def instants(self) -> list[Fraction]:
        return [self.step * number for number in range(self.count)]

    def batches(self, instants: list[Fraction]) -> Iterator[tuple[int, list[Fraction]]]:
        """Sheet by sheet: the index of its first tile, and the instants of its tiles."""
        for first in range(0, len(instants), self.per_sheet):
            yield first, instants[first : first + self.per_sheet]

    def place(self, index: int) -> tuple[int, int]:
        """x and y of a tile on its sheet."""
        row, column = divmod(index % self.per_sheet, self.columns)
        return column * self.tile[0], row * self.tile[1]

    def sheet_size(self, tiles: int) -> Size:
        """A sheet with so many tiles: full width, and no rows that nothing is on."""
        return self.columns * self.tile[0], math.ceil(tiles / self.columns) * self.tile[1]


def make(definition: Definition, duration: Fraction, display: Size) -> Plan:
    """The plan for a video of this duration (seconds to the end of its video stream), shown at this size.

    Raises TooLarge when there would be more tiles than anybody can use.
    """
    interval = Fraction(str(definition.interval))
    if not duration:
        step, count = interval, 1
    elif definition.sampling == "time":
        step, count = interval, math.floor(duration / interval) + 1
    else:
        step, count = duration * interval / 100, math.ceil(100 / interval)
    if count > MAX_TILES:
        reason = (
            f"A video of {float(duration):.0f} s has {count} tiles at this interval; {MAX_TILES} is the most."
        )
        raise TooLarge(reason=reason)
    tile = tile_size(definition, display)
    return Plan(count, step, tile, *_layout(definition, tile))


def tile_size(definition: Definition, display: Size) -> Size:
    width, height = definition.width, definition.height
    if definition.resolution_adaptive and display[1] > display[0]:
        width, height = height, width
    if width and height:
        return width, height
    aspect = Fraction(*display)
    if width:
        return width, _side(width / aspect)
    if height:
        return _side(height * aspect), height
    shrink = max(Fraction(1), Fraction(max(display), MAX_SIDE))
    return max(1, round(display[0] / shrink)), max(1, round(display[1] / shrink))


def _side(length: Fraction) -> int:
    """The nearest even number of pixels that a tile may have."""
    return min(MAX_SIDE, max(2, round(length / 2) * 2))


def _layout(definition: Definition, tile: Size) -> tuple[int, int]:
    """Columns and rows; fewer than the definition's where the sheet would be too large to draw or to show."""
    columns = min(definition.columns, max(1, MAX_SHEET_SIDE // tile[0]))
    rows = min(definition.rows, max(1, MAX_SHEET_SIDE // tile[1]))
    while columns * rows * tile[0] * tile[1] > MAX_SHEET_PIXELS and columns * rows > 1:
        if rows >= columns:
            rows -= 1
        else:
            columns -= 1
    return columns, rows


def fit(picture: Size, tile: Size, fill: str) -> Size:
    """The size at which a picture of this display size is drawn into the tile.

    It keeps its aspect (unless `stretch`), and differs from the tile by an even number of pixels on each
    axis, so that it lies exactly in the middle.
    """
    if fill == "stretch":
        return tile
    scale = min(Fraction(tile[0], picture[0]), Fraction(tile[1], picture[1]))
    return _fitted(picture[0] * scale, tile[0]), _fitted(picture[1] * scale, tile[1])


def _fitted(length: Fraction, side: int) -> int:
    padding = round((side - length) / 2) * 2
    return max(side - padding, 2 - side % 2)
