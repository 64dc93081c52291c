"""Elements of EBML (RFC 8794), the framing of Matroska and WebM.

Places are offsets into the bytes at hand. Whatever does not fit into what holds it raises NoIndex.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from lib.sprites.indexes import Fetch, NoIndex

LONGEST_READ = 1 << 25
"""Bytes of one element that are ever read: the cues of a video of some hundred hours."""
MAX_CHILDREN = 1 << 22
KEPT = 2
"""Reads that stay at hand."""
NUMBER = 1 << 62
"""Numbers from here on are damage."""


class Element(NamedTuple):
    id: int
    start: int
    body: int
    """Where the content begins."""
    stop: int
    sized: bool
    """Whether it tells its size; else it may end before `stop`."""


def element(data: bytes, at: int, limit: int) -> Element | None:
    """The element whose header is here; it may end beyond the bytes at hand. None if not all of the header is.

    `limit`: where the element around it ends.
    """
    if at >= len(data):
        return None
    length = 9 - data[at].bit_length()
    if length > 4:
        raise NoIndex("What should be the name of an element is none.")
    place = at + length
    if place >= len(data):
        return None
    width = 9 - data[place].bit_length()
    body = place + width
    if width > 8:
        raise NoIndex("The size of an element is longer than eight bytes.")
    if body > len(data):
        return None
    mask = (1 << 7 * width) - 1
    size = int.from_bytes(data[place:body], "big") & mask
    sized = size != mask
    stop = body + size if sized else limit
    if not body <= stop <= limit:
        raise NoIndex("An element does not fit into what is around it.")
    return Element(int.from_bytes(data[at:place], "big"), at, body, stop, sized)


def elements(data: bytes, start: int, stop: int) -> Iterator[Element]:
    """The elements between these places, whose headers must all be at hand."""
    for _ in range(MAX_CHILDREN):
        if start >= stop:
            return
        found = element(data, start, stop)
        if found is None:
            raise NoIndex("An element is cut off.")
        yield found
        start = found.stop


def number(data: bytes, found: Element) -> int:
    if found.stop - found.body > 8 or found.stop > len(data):
        raise NoIndex("A number is longer than eight bytes, or cut off.")
    value = int.from_bytes(data[found.body : found.stop], "big")
    if value >= NUMBER:
        raise NoIndex("A number is too large to be true.")
    return value


def real(data: bytes, found: Element) -> float:
    code = {0: "", 4: ">f", 8: ">d"}.get(found.stop - found.body)
    if code is None or found.stop > len(data):
        raise NoIndex("A number is neither of four nor of eight bytes.")
    value: float = struct.unpack_from(code, data, found.body)[0] if code else 0.0
    if not math.isfinite(value):
        raise NoIndex("A number is not finite.")
    return value


def content(data: bytes, found: Element) -> bytes:
    if found.stop > len(data):
        raise NoIndex("An element is cut off.")
    return data[found.body : found.stop]


class Source:
    """The file: its head is at hand, and what was read last."""

    def __init__(self, fetch: Fetch, size: int, head: bytes) -> None:
        self.size = size
        self._fetch = fetch
        self._windows = [(0, head[:size])]

    def read(self, start: int, stop: int) -> bytes:
        """Exactly these bytes."""
        if not 0 <= start <= stop <= self.size or stop - start > LONGEST_READ:
            raise NoIndex("An element reaches beyond the end of the file, or is too large.")
        for at, window in self._windows:
            if at <= start and stop <= at + len(window):
                return window[start - at : stop - at]
        (data,) = self._fetch([(start, stop)])
        if len(data) != stop - start:
            raise NoIndex("The file is shorter than it says.")
        self._windows[1:] = [*self._windows[1:], (start, data)][-KEPT:]
        return data

    def ahead(self, start: int, length: int) -> bytes:
        """So many bytes, fewer at the end of the file; all of the head from there on if it has as many."""
        stop = min(self.size, start + length)
        head = self._windows[0][1]
        return head[start:] if start >= 0 and stop <= len(head) else self.read(start, stop)
