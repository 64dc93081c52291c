"""The manifest: everything about a sprite, as JSON. A public contract: new fields may come, within a version
none changes its meaning or goes.

All times are seconds on the player's clock, where 0 is the start of the presentation, rounded to six digits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from lib.errors import Invalid

VERSION = 1
OUTCOMES = ("complete", "partial")


@dataclass(frozen=True)
class Source:
    bucket: str | None
    key: str | None
    etag: str | None
    size: int
    """Bytes."""
    duration: float
    """The end of the video stream: neither the container's nor the sound's."""
    width: int
    """Stored pixels, before pixel aspect and rotation are applied; so is the height."""
    height: int
    rotation: int
    """Degrees clockwise that the stored picture is turned by for showing: 0, 90, 180 or 270."""
    codec: str
    container: str


@dataclass(frozen=True)
class SheetEntry:
    name: str
    width: int
    height: int
    tiles: int


@dataclass(frozen=True)
class Tile:
    index: int
    instant: float
    """The time that the tile stands for."""
    frame: float
    """The presentation time of the frame that the tile shows."""
    sheet: int
    """The index of its sheet in `sheets`."""
    x: int
    y: int
    width: int
    height: int
    color: str
    """The average of the picture, #rrggbb."""


@dataclass(frozen=True)
class Read:
    """What was read of the source."""

    bytes: int
    requests: int


@dataclass(frozen=True)
class Manifest:
    outcome: str
    """`complete`; `partial` when the source ends before it says it does."""
    coverage: float
    """Tiles made, as a part (0..1) of the tiles that the whole video would have, as far as the file tells."""
    accuracy: str
    max_error: float
    """The largest distance of a tile's frame from its instant."""
    poster: int
    """The index of the tile that shows most: its brightness has the largest entropy of all tiles that are
    neither black nor white on average."""
    source: Source
    definition: Mapping[str, Any]
    sheets: tuple[SheetEntry, ...]
    tiles: tuple[Tile, ...]
    read: Read
    documents: Mapping[str, str] = field(default_factory=lambda: {"vtt": "thumbnails.vtt"})
    """File names, by kind."""
    version: int = VERSION

    def to_json(self) -> str:
        values = asdict(self)
        ordered = {name: values.pop(name) for name in _FIRST} | values
        return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Raises Invalid naming the field. Fields that are not known here are left out."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise Invalid(field="manifest", problem=f"is not JSON ({error})") from None
        if isinstance(values, dict) and values.get("version") != VERSION:
            problem = f"{values.get('version')!r} is not {VERSION}, the one that is read here"
            raise Invalid(field="version", problem=problem)
        manifest = _read(cls, values, "manifest")
        if manifest.outcome not in OUTCOMES:
            raise Invalid(
                field="outcome", problem=f"{manifest.outcome!r} is not one of {', '.join(OUTCOMES)}"
            )
        for number, tile in enumerate(manifest.tiles):
            if tile.index != number or not 0 <= tile.sheet < len(manifest.sheets):
                raise Invalid(field=f"tiles.{number}", problem="does not fit its place or its sheet")
        return manifest


_FIRST = ("version", "outcome", "coverage")
_NESTED: dict[str, type] = {"Source": Source, "Read": Read}
_LISTS: dict[str, type] = {"tuple[SheetEntry, ...]": SheetEntry, "tuple[Tile, ...]": Tile}
_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "str | None": (str, type(None)),
    "Mapping[str, Any]": (dict,),
    "Mapping[str, str]": (dict,),
}
T = TypeVar("T")


def _read(kind: type[T], values: Any, path: str) -> T:
    if not isinstance(values, dict):
        raise Invalid(field=path, problem="is not an object")
    prefix = "" if path == "manifest" else f"{path}."
    read: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        name, place = str(each.type), f"{prefix}{each.name}"
        if each.name not in values:
            raise Invalid(field=place, problem="is missing")
        value: Any = values[each.name]
        if name in _NESTED:
            read[each.name] = _read(_NESTED[name], value, place)
        elif name in _LISTS:
            if not isinstance(value, list):
                raise Invalid(field=place, problem="is not a list")
            read[each.name] = tuple(
                _read(_LISTS[name], item, f"{place}.{number}") for number, item in enumerate(value)
            )
        elif isinstance(value, bool) or not isinstance(value, _PLAIN[name]):
            raise Invalid(field=place, problem=f"{value!r} is not of the kind {name}")
        else:
            read[each.name] = float(str(value)) if name == "float" else value
    return kind(**read)
