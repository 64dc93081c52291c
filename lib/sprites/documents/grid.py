"""The grid: what HLS, DASH and the configurations of players reckon with instead of a list of tiles.

They know one distance between two tiles and one layout of a full sheet, and work out the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from lib.errors import Invalid
from lib.sprites.manifest import Manifest

TOLERANCE = 2e-6
"""Seconds: instants are rounded to six digits."""


@dataclass(frozen=True)
class Grid:
    step: Fraction
    """Seconds from one tile to the next."""
    count: int
    width: int
    """Pixels of a tile; so is the height."""
    height: int
    columns: int
    rows: int
    """Of a full sheet. The last of several has fewer when it is cropped; an only sheet is a full one."""

    @property
    def cells(self) -> int:
        return self.columns * self.rows

    @property
    def end(self) -> Fraction:
        """Seconds: where the slot of the last tile ends."""
        return self.step * self.count


def of(manifest: Manifest) -> Grid:
    """Raises Invalid for a manifest that such documents cannot tell the truth about."""
    if not manifest.tiles:
        raise Invalid(field="tiles", problem="there are none; a document needs one at least")
    first, last, count = manifest.tiles[0], manifest.tiles[-1], len(manifest.tiles)
    only = Fraction(math.ceil(manifest.source.duration) + 1)
    step = Fraction(str(last.instant)) / (count - 1) if count > 1 else only
    sheet = manifest.sheets[0]
    columns, rows = sheet.width // first.width, sheet.height // first.height
    grid = Grid(step, count, first.width, first.height, columns, rows)
    for tile in manifest.tiles:
        if abs(tile.instant - float(step) * tile.index) > TOLERANCE:
            raise Invalid(
                field=f"tiles.{tile.index}.instant", problem="is not at the same distance as others"
            )
        number, cell = divmod(tile.index, grid.cells)
        row, column = divmod(cell, columns)
        place = (number, column * grid.width, row * grid.height, grid.width, grid.height)
        if place != (tile.sheet, tile.x, tile.y, tile.width, tile.height):
            raise Invalid(field=f"tiles.{tile.index}", problem="is not in its place of the grid")
    return grid


def bandwidth(manifest: Manifest, grid: Grid, sizes: dict[str, int] | None = None) -> int:
    """The peak of bits per second over the sheets, given the bytes of each by name.

    Without them, an estimate: two bits for a pixel, which JPEG of quality 80 stays below.
    """
    peak = 0
    for sheet in manifest.sheets:
        bits = sizes[sheet.name] * 8 if sizes else sheet.width * sheet.height * 2
        peak = max(peak, math.ceil(bits / (grid.step * sheet.tiles)))
    return max(1, peak)
