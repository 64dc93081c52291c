"""The sprite engine: a video's small pictures on sheets, and the manifest that tells about them.

plan (which instants) -> ways (the file's own index, or FFmpeg's demuxers) -> decoder (a child process) -> tiles and
sheets -> manifest -> documents.

Knows no cloud: it gets a reader of byte ranges and gives back bytes. Importing it is cheap; FFmpeg and
Pillow are loaded by the first `capture`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lib.sprites.definition import PRESET_10, Definition
from lib.sprites.limits import Limits
from lib.sprites.manifest import Manifest, Read, SheetEntry, Source, Tile
from lib.sprites.reading import Reader

if TYPE_CHECKING:
    from lib.sprites.sheets import Sheet

__all__ = [
    "PRESET_10",
    "Definition",
    "Limits",
    "Manifest",
    "Read",
    "Reader",
    "SheetEntry",
    "Source",
    "Tile",
    "capture",
]

DEFAULT_LIMITS = Limits()


def capture(
    reader: Reader,
    definition: Definition,
    *,
    sheet_name: Callable[[int], str],
    emit: Callable[[Sheet], None],
    source: Mapping[str, str | None],
    progress: Callable[[int, int], None] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Manifest:
    """Makes the sprite of a video. Sheets, named by their index from 0, are emitted one by one.

    `source` may hold `bucket`, `key`, `etag`, for the manifest; `progress` gets tiles done and tiles in all.
    Raises NoVideo, TooShort, Corrupt, Unsupported, TooLarge and DecoderFailed; what the reader raises comes out
    as it is.
    """
    from lib.sprites import capturing

    return capturing.capture(
        reader,
        definition,
        sheet_name=sheet_name,
        emit=emit,
        source=source,
        progress=progress,
        limits=limits,
    )
