"""A picture as it came from the decoder, turned upright, and the tile around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageFilter, ImageOps

from lib.sprites.plan import Size

TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns counterclockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


def upright(head: Mapping[str, Any], pixels: bytes) -> Image.Image:
    """The picture, as large as it is on the tile. Raises ValueError for pixels that are not what `head` says."""
    mode, size = head["mode"], tuple(head["size"])
    image = Image.frombytes(mode, size, pixels, "raw", mode, head["stride"], 1)
    if mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", size, "black"), image).convert("RGB")
    if head["mirrored"]:
        image = ImageOps.mirror(image)
    return image.transpose(TURNS[head["rotation"]]) if head["rotation"] else image


def framed(picture: Image.Image, tile: Size, fill: str) -> Image.Image:
    """The tile: the picture in its middle, with the definition's filling around it."""
    if picture.size == tile:
        return picture
    if fill == "gauss":
        paper = ImageOps.fit(picture, tile).filter(ImageFilter.GaussianBlur(max(tile) / 20))
    else:
        paper = Image.new("RGB", tile, fill)
    left, top = ((side - length) // 2 for side, length in zip(tile, picture.size, strict=True))
    paper.paste(picture, (left, top))
    return paper
