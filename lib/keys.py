"""Which object keys are taken (COS, "Object Overview", naming conventions)."""

from __future__ import annotations

import re

from lib.errors import KeyRefused

LONGEST_KEY = 850  # bytes of UTF-8

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_key(bucket: str, key: str) -> None:
    """Raises KeyRefused for a key that COS does not take or that a client on the way would rewrite.

    Dot segments are rewritten by HTTP clients and file systems, so such a key would name another object.
    """
    if found := problem(key):
        raise KeyRefused(bucket=bucket, key=key, problem=found)


def problem(key: str) -> str:
    """What is wrong with it; "" if nothing is."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if not key:
        return "it is empty"
    if size > LONGEST_KEY:
        return f"it has {size} bytes, at most {LONGEST_KEY} are allowed"
    if _CONTROL.search(key):
        return "it has control characters"
    if key.startswith(("/", "\\")):
        return "it starts with a slash or backslash"
    if not {".", ".."}.isdisjoint(key.split("/")):
        return "it has a segment that is . or .."
    return ""
