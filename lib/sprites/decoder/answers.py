"""What the child answers, believed only where it is possible: whatever took the child over may say anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from PIL import Image

from lib.errors import DecoderFailed
from lib.sprites.plan import Size
from lib.sprites.tiles import TURNS, upright

CHANNELS = {"RGB": 3, "RGBA": 4}
LONGEST = 500
"""Characters of a text."""
LIMIT = 1 << 62
"""Of numbers that nothing else limits."""
LAST = 1 << 40
"""Seconds."""


@contextmanager
def doubting() -> Iterator[None]:
    """Whatever goes wrong with an answer in here is DecoderFailed."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError):
        raise DecoderFailed(reason="it talked nonsense") from None


def whole(value: Any, below: int = LIMIT) -> int:
    """A whole number from 0 on. Raises ValueError."""
    if type(value) is not int or not 0 <= value < below:
        raise ValueError("not a number that is possible here")
    return value


def size(value: Any) -> Size:
    """Raises ValueError, TypeError."""
    width, height = value
    if not width or not height:
        raise ValueError("nothing has no width or no height")
    return whole(width, 1 << 31), whole(height, 1 << 31)


def rotation(value: Any) -> int:
    """Raises ValueError."""
    if whole(value) not in (0, *TURNS):
        raise ValueError("pictures are turned by right angles")
    return int(value)


def seconds(value: Any, first: int = -LAST) -> Fraction:
    """Raises ValueError, TypeError, ArithmeticError."""
    time = Fraction(*value)
    if not first <= time <= LAST:
        raise ValueError("not a time that is possible here")
    return time


def text(value: Any) -> str:
    """Raises ValueError. What cannot be printed (or stored) is replaced."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    return "".join(each if each.isprintable() else "?" for each in value[:LONGEST])


def picture(head: Mapping[str, Any], pixels: bytes, tile: Size) -> Image.Image:
    """The picture, upright, no larger than the tile. Raises ValueError, LookupError, TypeError."""
    width, height = size(head["size"])
    turned = rotation(head["rotation"])
    stride = whole(head["stride"], 1 << 20)
    across, down = (height, width) if turned in (90, 270) else (width, height)
    if across > tile[0] or down > tile[1]:
        raise ValueError("the picture is larger than its tile")
    if stride < width * CHANNELS[head["mode"]] or len(pixels) != stride * height:
        raise ValueError("the pixels do not fill the picture")
    return upright(head, pixels)
