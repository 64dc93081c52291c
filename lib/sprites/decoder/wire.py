"""Messages between the two ends: a JSON object, then bytes. Neither end believes a length without a bound."""

from __future__ import annotations

import json
import struct
from fractions import Fraction
from typing import IO, Any

Message = tuple[dict[str, Any], bytes]

_SIZES = struct.Struct("<II")
MAX_HEAD = 1 << 20
MAX_BODY = 1 << 29


def write(stream: IO[bytes], head: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """Raises BrokenPipeError when the other end is gone."""
    text = json.dumps(head, separators=(",", ":")).encode()
    stream.write(_SIZES.pack(len(text), len(body)))
    stream.write(text)
    stream.write(body)
    stream.flush()


def read(stream: IO[bytes], max_body: int = MAX_BODY) -> Message:
    """Raises EOFError when the other end is gone, ValueError when it talks nonsense."""
    head, body = _SIZES.unpack(_exactly(stream, _SIZES.size))
    if head > MAX_HEAD or body > max_body:
        raise ValueError(f"a message of {head} + {body} bytes")
    try:
        message = json.loads(_exactly(stream, head))
    except RecursionError:
        raise ValueError("a message is not so deep") from None
    if not isinstance(message, dict):
        raise ValueError("a message is an object")
    return message, _exactly(stream, body)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def pack(value: Fraction | None) -> list[int] | None:
    return None if value is None else [value.numerator, value.denominator]


def unpack(value: list[int] | None) -> Fraction | None:
    return None if value is None else Fraction(*value)
