"""Which sprites can be made: Tencent's preset 10 and the user's own from a TOML file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.errors import Invalid
from lib.sprites import PRESET_10, Definition

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BUILT_IN = Path(__file__).with_name("definitions.toml")


class Definitions:
    def __init__(self, definitions: dict[int, Definition]) -> None:
        self._definitions = {PRESET_10.number: PRESET_10, **definitions}

    def get(self, number: int) -> Definition:
        """Raises Invalid."""
        try:
            return self._definitions[number]
        except KeyError:
            known = ", ".join(map(str, self._definitions))
            raise Invalid(
                field="definition", problem=f"there is no definition {number}; there are: {known}"
            ) from None

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._definitions.values())


def load(path: Path = BUILT_IN) -> Definitions:
    """Raises Invalid, naming the file, the definition and the field."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid(field=str(path), problem=f"cannot be read as TOML: {error}") from error
    own = [_definition(path, number, table) for number, table in tables.items()]
    return Definitions({definition.number: definition for definition in own})


def _definition(path: Path, number: str, table: Any) -> Definition:
    place = f"{path.name} [{number}]"
    if not number.isascii() or not number.isdigit() or not isinstance(table, dict):
        raise Invalid(field=place, problem="a definition is a table named by its number, like [20]")
    if int(number) == PRESET_10.number:
        raise Invalid(field=place, problem="10 is Tencent's preset; give yours another number")
    try:
        return Definition.from_dict({"number": int(number), "name": number, **table})
    except Invalid as error:
        raise Invalid(field=f"{place} {error.field}", problem=error.problem) from None
