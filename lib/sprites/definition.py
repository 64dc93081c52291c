"""A definition: what a sprite shall look like. Number 10 is the preset of VOD API 2.0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lib.errors import Invalid

SAMPLINGS = ("time", "percent")
FILLS = ("black", "stretch", "white", "gauss")
FORMATS = ("jpg", "png", "webp")
ACCURACIES = ("auto", "exact", "keyframe")

MIN_SIDE, MAX_SIDE = 8, 4096
"""Pixels of a tile's side."""
MAX_TILES = 100
"""Tiles on one sheet (VOD API 2.0, image sprite templates)."""
MAX_SHEET_SIDE = 15000
"""Pixels (VOD API 3.0, CreateImageSpriteTemplate)."""
MIN_INTERVAL = 0.001


@dataclass(frozen=True)
class Definition:
    """A numbered sprite specification. Raises Invalid naming the first wrong field."""

    number: int
    name: str
    width: int = 142
    """Pixels of a tile. Width and height 0: the size of the source; one of them 0: scaled to its aspect."""
    height: int = 80
    rows: int = 10
    columns: int = 10
    sampling: str = "time"
    """`time`: a tile every `interval` seconds; `percent`: a tile every `interval` percent of the duration."""
    interval: float = 10.0
    fill: str = "black"
    """What surrounds a picture of another aspect than the tile's; `gauss` is a blurred copy of it."""
    format: str = "jpg"
    accuracy: str = "auto"
    """`exact`: the frame a player shows at the instant; `keyframe`: the nearest key frame; `auto`: the
    nearest key frame if it is within the tolerance of the instant, the exact frame if not."""
    tolerance: float | None = None
    """Seconds either side of the instant, for `auto`; None is half the distance between two tiles."""
    quality: int = 80
    resolution_adaptive: bool = True
    """Width is the long side and height the short one: swapped for a video that is shown upright."""

    def __post_init__(self) -> None:
        for field in fields(self):
            kinds = _KINDS[str(field.type)]
            value = getattr(self, field.name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise Invalid(field=field.name, problem=f"{value!r} is not {_WORDS[str(field.type)]}")
        self._choice("sampling", SAMPLINGS)
        self._choice("fill", FILLS)
        self._choice("format", FORMATS)
        self._choice("accuracy", ACCURACIES)
        for name in ("width", "height"):
            if getattr(self, name):
                self._between(name, MIN_SIDE, MAX_SIDE, " or 0")
        self._between("rows", 1, MAX_TILES)
        self._between("columns", 1, MAX_TILES)
        if self.rows * self.columns > MAX_TILES:
            problem = f"{self.rows} rows x {self.columns} columns are more than {MAX_TILES} tiles on a sheet"
            raise Invalid(field="rows", problem=problem)
        for side, name, count in ((self.width, "columns", self.columns), (self.height, "rows", self.rows)):
            if side * count > MAX_SHEET_SIDE:
                problem = (
                    f"{count} {name} of {side} px are {side * count} px; a sheet has at most {MAX_SHEET_SIDE}"
                )
                raise Invalid(field=name, problem=problem)
        self._between("interval", MIN_INTERVAL, 100 if self.sampling == "percent" else 100_000)
        if self.tolerance is not None:
            self._between("tolerance", 0, 100_000)
        self._between("quality", 1, 100)

    def _choice(self, name: str, allowed: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in allowed:
            raise Invalid(field=name, problem=f"{value!r} is not one of {', '.join(allowed)}")

    def _between(self, name: str, low: float, high: float, otherwise: str = "") -> None:
        value = getattr(self, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise Invalid(field=name, problem=f"{value!r} is not between {low} and {high}{otherwise}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Definition:
        """The definition of these fields; those with a default may be missing. Raises Invalid."""
        names = {field.name for field in fields(cls)}
        for name in values:
            if name not in names:
                raise Invalid(
                    field=name, problem=f"is not a field of a definition ({', '.join(sorted(names))})"
                )
        for name in ("number", "name"):
            if name not in values:
                raise Invalid(field=name, problem="is missing")
        return cls(**values)


_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "bool": (bool,),
}
_WORDS = {
    "int": "a whole number",
    "str": "a text",
    "float": "a number",
    "float | None": "a number",
    "bool": "true or false",
}

PRESET_10 = Definition(number=10, name="Preset 10: a tile every 10 seconds")
"""JPG, tiles of 142x80, 10 rows x 10 columns, every 10 s, black (VOD API 2.0, preset templates)."""
