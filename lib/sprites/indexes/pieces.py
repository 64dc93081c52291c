"""A file read on from somewhere, in pieces, as far as is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lib.sprites.indexes import Fetch, NoIndex, Sample

LARGE, SMALL = 2 << 20, 128 * 1024
"""Bytes that are read at once: up to where what is wanted should end, and from there on."""
LONGEST = 1 << 25
"""Bytes of a frame."""
REORDERED = 16
"""Frames that come before another one and are shown after it, at the most (ITU-T H.264, H.265)."""


class Pieces:
    """`stop`: where the file ends; `likely_stop`: where what is wanted should."""

    def __init__(self, fetch: Fetch, stop: int, likely_stop: int) -> None:
        self._fetch = fetch
        self._stop = stop
        self._likely_stop = likely_stop
        self._start = 0
        self._data = b""

    def at(self, at: int, length: int, *, only: bool = False) -> tuple[int, bytes]:
        """Where the bytes at hand begin, and they: at least so many from this place on, fewer at the end.

        `only`: what follows is not wanted yet.
        """
        if length > LONGEST:
            raise NoIndex("A frame is too large.")
        stop = min(self._stop, at + length)
        if not self._start <= at or stop > self._start + len(self._data):
            rest = self._data[at - self._start :] if at >= self._start else b""
            begin = at + len(rest)
            if not only:
                stop = min(self._stop, max(stop, begin + max(SMALL, min(LARGE, self._likely_stop - begin))))
            (data,) = self._fetch([(begin, stop)])
            if len(data) != stop - begin:
                raise NoIndex("The file is shorter than it says.")
            self._start, self._data = at, rest + data
        return self._start, self._data


def shown_until(samples: Iterable[Sample], until: int, *, in_order: bool) -> Iterator[Sample]:
    """Of samples in decoding order, at least all that are shown at or before this time.

    Behind a key frame that is shown later, only frames that lead up to it can be missing; they come first.
    """
    beyond, key = 0, until
    for sample in samples:
        if until < key < sample.time:
            return
        yield sample
        if sample.time > until:
            beyond += 1
            if in_order or beyond > REORDERED:
                return
            if sample.key:
                key = sample.time
