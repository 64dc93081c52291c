"""Sheets: tiles laid out on one image, encoded once."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from lib.sprites.definition import Definition
from lib.sprites.plan import Plan

CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
JPEG_BLOCK = 16
"""Pixels over which JPEG shares colour when it halves it: tiles of other sides would bleed into others."""


@dataclass(frozen=True)
class Sheet:
    name: str
    data: bytes
    content_type: str
    width: int
    height: int
    tiles: int


class Canvas:
    """One sheet being drawn."""

    def __init__(self, plan: Plan, definition: Definition, tiles: int) -> None:
        self._plan = plan
        self._definition = definition
        paper = "white" if definition.fill == "white" else "black"
        self._image = Image.new("RGB", plan.sheet_size(tiles), paper)

    def paste(self, index: int, tile: Image.Image) -> None:
        self._image.paste(tile, self._plan.place(index))

    def finish(self, name: str, tiles: int) -> Sheet:
        """The sheet with its first tiles, so many: cropped to the rows they use."""
        size = self._plan.sheet_size(tiles)
        data = encode(self._image.crop((0, 0, *size)), self._definition, self._plan)
        return Sheet(name, data, CONTENT_TYPES[self._definition.format], *size, tiles)


def encode(image: Image.Image, definition: Definition, plan: Plan) -> bytes:
    buffer = io.BytesIO()
    ENCODERS[definition.format](image, buffer, definition, plan)
    return buffer.getvalue()


def _jpeg(image: Image.Image, buffer: io.BytesIO, definition: Definition, plan: Plan) -> None:
    halved = all(side % JPEG_BLOCK == 0 for side in plan.tile)
    image.save(buffer, "JPEG", quality=definition.quality, subsampling="4:2:0" if halved else "4:4:4")


def _png(image: Image.Image, buffer: io.BytesIO, definition: Definition, plan: Plan) -> None:
    image.save(buffer, "PNG")


def _webp(image: Image.Image, buffer: io.BytesIO, definition: Definition, plan: Plan) -> None:
    image.save(buffer, "WEBP", quality=definition.quality)


ENCODERS: dict[str, Callable[[Image.Image, io.BytesIO, Definition, Plan], None]] = {
    "jpg": _jpeg,
    "png": _png,
    "webp": _webp,
}
