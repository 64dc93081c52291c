"""Reading the source by byte ranges, and as the file that the demuxer wants."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

BLOCK = 64 * 1024
"""Bytes that a look at a new place costs."""
LARGEST_READ = 16 * BLOCK
"""Reading on doubles what is read at once, up to this."""
CACHED_BLOCKS = 192
"""12 MiB: the tables, and a few runs of frames."""
RUNS = 8
"""Places that are read on from at the same time: sound and picture may lie far apart."""


class Reader(Protocol):
    """The source. Raises errors of lib.errors, which come out of `capture` as they are."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each range, in order; (0, 10) is ten bytes."""
        ...


class SourceFile(io.RawIOBase):
    """A reader as a read-only file with a block cache, counting what it asks the reader for.

    No error leaves `read` or `seek`: they are called from C. The first one is kept, everything after it is
    the end of the file, and `check` raises it.
    """

    def __init__(self, reader: Reader) -> None:
        self.size = reader.size
        self.bytes = 0
        self.requests = 0
        self._reader = reader
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._runs: OrderedDict[int, int] = OrderedDict()  # next block of a run -> blocks to read then
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raises the error that the reader raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, and never past the block boundary that is at hand."""
        if self._failure is not None or self._position >= self.size or size == 0:
            return b""
        number, offset = divmod(self._position, BLOCK)
        try:
            block = self._block(number)
        except BaseException as error:  # noqa: BLE001 (kept for `check`: C would drop it)
            self._failure = error
            return b""
        piece = block[offset:] if size < 0 else block[offset : offset + size]
        self._position += len(piece)
        return piece

    def peek(self, start: int, size: int) -> bytes:
        """The bytes at a place; fewer at the end of the file. Raises what the reader raises.

        The position stays: FFmpeg relies on it.
        """
        position, pieces = self._position, []
        self.seek(start)
        while size > 0 and (piece := self.read(size)):
            pieces.append(piece)
            size -= len(piece)
        self._position = position
        self.check()
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        count = self._runs.pop(number, 1)
        last = (self.size - 1) // BLOCK
        end = number + 1
        while end <= last and end < number + count and end not in self._blocks:
            end += 1
        start, stop = number * BLOCK, min(end * BLOCK, self.size)
        self.requests += 1
        (data,) = self._reader.read([(start, stop)])
        self.bytes += len(data)
        if len(data) != stop - start:
            raise OSError(f"the source gave {len(data)} bytes of {stop - start} at {start}")
        for each in range(number, end):
            self._blocks[each] = data[(each - number) * BLOCK : (each - number + 1) * BLOCK]
        self._runs[end] = min(count * 2, LARGEST_READ // BLOCK)
        while len(self._blocks) > CACHED_BLOCKS:
            self._blocks.popitem(last=False)
        while len(self._runs) > RUNS:
            self._runs.popitem(last=False)
        return self._blocks[number]
