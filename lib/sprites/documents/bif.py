"""BIF, the trick play file of Roku: every tile as a JPEG of its own, and the times at which they begin.

Little-endian: 8 bytes of magic, then as 32 bits the version 0, the number of pictures and the milliseconds of
a unit of time; zeros up to byte 64; for each picture its time and its offset, then 0xFFFFFFFF and the length of
the file; the pictures (Roku developer documentation, "Trick Mode Support", BIF file specification).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from lib.errors import Invalid
from lib.sprites.documents.slots import slots
from lib.sprites.manifest import Manifest, Tile

if TYPE_CHECKING:
    from PIL import Image

CONTENT_TYPE = "application/octet-stream"
MAGIC = b"\x89BIF\r\n\x1a\n"
HEADER = 64
"""Bytes."""
END = 0xFFFFFFFF


def render(manifest: Manifest, sheet_bytes: Callable[[str], bytes]) -> bytes:
    """`sheet_bytes` gives a sheet by its name, and is asked once for each, in order.

    The unit of time is the interval, if that is a whole number of milliseconds; else a millisecond, and times
    are rounded to it. Raises Invalid for a manifest without tiles, and for a sheet that is not the one that
    the manifest describes.
    """
    shown = slots(manifest)
    starts = [slot.start for slot in shown]
    unit = max(1, starts[1]) if len(starts) > 1 else 1
    if starts != [number * unit for number in range(len(starts))]:
        unit = 1
    pictures = list(_pictures(manifest, [slot.tile for slot in shown], sheet_bytes))
    offset = HEADER + 8 * (len(pictures) + 1)
    index = []
    for start, picture in zip(starts, pictures, strict=True):
        index.append(struct.pack("<II", start // unit, offset))
        offset += len(picture)
    header = struct.pack("<8sIII", MAGIC, 0, len(pictures), unit).ljust(HEADER, b"\0")
    return b"".join([header, *index, struct.pack("<II", END, offset), *pictures])


def _pictures(manifest: Manifest, tiles: list[Tile], sheet_bytes: Callable[[str], bytes]) -> Iterator[bytes]:
    from PIL import Image

    quality = int(manifest.definition.get("quality", 80))
    for number, on_sheet in groupby(tiles, key=lambda tile: tile.sheet):
        sheet = manifest.sheets[number]
        with Image.open(io.BytesIO(sheet_bytes(sheet.name))) as image:
            if image.size != (sheet.width, sheet.height):
                problem = (
                    f"{sheet.name!r} is {image.size}, not {(sheet.width, sheet.height)} as the manifest says"
                )
                raise Invalid(field=f"sheets.{number}", problem=problem)
            picture = image.convert("RGB")
        for tile in on_sheet:
            box = (tile.x, tile.y, tile.x + tile.width, tile.y + tile.height)
            yield _jpeg(picture.crop(box), quality)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
