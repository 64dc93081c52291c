"""Boxes of the ISO base media file format (ISO/IEC 14496-12, 4.2), read by ranges of a file.

Places are offsets into the bytes at hand. Whatever does not fit into what holds it raises NoIndex.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lib.sprites.indexes import ByteRange, Fetch, NoIndex

PARALLEL = 4
"""Ranges that a large read is split into."""
SPLIT = 1 << 20
"""Bytes that are worth a range of their own."""
MAX_WINDOWS = 6
LONGEST_READ = 1 << 27
"""Bytes that are ever held at once: the tables of a video of some hundred hours."""

Data = bytes | memoryview


@dataclass(frozen=True)
class Box:
    kind: bytes
    start: int
    body: int
    """Where the content begins, after size and type."""
    stop: int


def header(data: Data, at: int, limit: int) -> Box | None:
    """The box whose header is here; it may end beyond the bytes at hand. None if the header is not all here.

    `limit`: where the box around it ends, which a size of 0 stands for.
    """
    if at + 8 > len(data):
        return None
    size, body = int.from_bytes(data[at : at + 4], "big"), at + 8
    if size == 1:
        if at + 16 > len(data):
            return None
        size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
    stop = at + size if size else limit
    if not body <= stop <= limit:
        raise NoIndex("A box does not fit into what is around it.")
    return Box(bytes(data[at + 4 : at + 8]), at, body, stop)


def boxes(data: Data, start: int, stop: int) -> Iterator[Box]:
    """The boxes between these places, as far as their headers are at hand."""
    while start + 8 <= stop:
        if stop <= len(data) and not any(data[start : start + 4]):
            return  # QuickTime ends some lists by a zero
        box = header(data, start, stop)
        if box is None:
            return
        yield box
        start = box.stop


def find(data: Data, box: Box, *path: bytes) -> Box | None:
    """The first box on this path below a box."""
    found: Box | None = box
    for kind in path:
        assert found is not None
        found = next((each for each in boxes(data, found.body, found.stop) if each.kind == kind), None)
        if found is None:
            return None
    return found


def number(data: Data, at: int, length: int = 4, *, signed: bool = False) -> int:
    if at < 0 or at + length > len(data):
        raise NoIndex("A box is shorter than what it should hold.")
    return int.from_bytes(data[at : at + length], "big", signed=signed)


def table(data: Data, box: Box, at: int, count: int, code: str) -> array[int]:
    """So many big-endian numbers (`code` as in module array) from a place within the box on."""
    numbers = array(code)
    stop = at + count * numbers.itemsize
    if stop > min(box.stop, len(data)):
        raise NoIndex("A table is shorter than it says.")
    numbers.frombytes(data[at:stop])
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def ascends(numbers: Sequence[int]) -> bool:
    """Strictly."""
    return all(map(int.__lt__, numbers, numbers[1:]))


class Source:
    """The file: ranges are fetched; its head and what was read ahead last are at hand."""

    def __init__(self, fetch: Fetch, size: int, head: bytes) -> None:
        self.fetch = fetch
        self.size = size
        self._windows = [(0, head[:size])]

    def read(self, start: int, stop: int) -> bytes:
        """Exactly these bytes: in several ranges at once if they are many."""
        if not 0 <= start <= stop <= self.size or stop - start > LONGEST_READ:
            raise NoIndex("A box reaches beyond the end of the file, or is too large.")
        begin = self._at_hand(start, stop)
        start += len(begin)
        if start == stop:
            return begin
        return b"".join([begin, *self.fetch_all(split(start, stop))])

    def ahead(self, start: int, length: int, generously: int = 0) -> bytes:
        """So many bytes, fewer at the end of the file; if they have to be fetched, more that stay at hand."""
        start = min(start, self.size)
        known = self._at_hand(start, min(self.size, start + length))
        if len(known) < min(self.size - start, length):
            known = self.read(start, min(self.size, start + max(length, generously)))
            self._keep(start, known)
        return known[:length] if len(known) > length else known

    def together(self, ranges: list[ByteRange]) -> None:
        """Fetches these at once, as far as they are not at hand yet; they stay so."""
        wanted = [each for each in ranges if len(self._at_hand(*each)) < each[1] - each[0]]
        for (start, _), data in zip(wanted, self.fetch_all(wanted) if wanted else (), strict=True):
            self._keep(start, data)

    def fetch_all(self, ranges: list[ByteRange]) -> list[bytes]:
        """All of these bytes."""
        if any(not 0 <= start <= stop <= self.size for start, stop in ranges):
            raise NoIndex("The file ends before what its tables tell.")
        parts = self.fetch(ranges)
        if [len(part) for part in parts] != [stop - start for start, stop in ranges]:
            raise NoIndex("The file is shorter than it says.")
        return parts

    def _keep(self, start: int, data: bytes) -> None:
        self._windows[1:] = [*self._windows[1:][-MAX_WINDOWS:], (start, data)]

    def _at_hand(self, start: int, stop: int) -> bytes:
        """What is known of these bytes from their beginning on."""
        found = (data[start - at : stop - at] for at, data in self._windows if at <= start)
        return max(found, key=len, default=b"")


def split(start: int, stop: int) -> list[ByteRange]:
    count = min(PARALLEL, max(1, (stop - start) // SPLIT))
    marks = [start + (stop - start) * part // count for part in range(count + 1)]
    return list(pairwise(marks))
