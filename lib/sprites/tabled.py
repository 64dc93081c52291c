"""Pictures of a file whose tables tell where all key frames are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction

from lib.sprites.containers import Container
from lib.sprites.decoder.client import Decoder
from lib.sprites.definition import Definition
from lib.sprites.indexes import ByteRange, Index, Sample
from lib.sprites.indexing import FETCHERS, Indexing, Numbers, is_near_enough
from lib.sprites.limits import Limits
from lib.sprites.reading import Reader

NEAR = 64 * 1024
"""Bytes between two frames that are cheaper read than left out."""
TOGETHER = 2 << 20
"""Bytes at most of frames that are read together."""
AHEAD = 64 << 20
"""Bytes of key frames that are in memory at once; a single one may be larger."""


class Tabled(Indexing):
    """Key frames go by their place in the index."""

    def __init__(
        self, decoder: Decoder, reader: Reader, index: Index, kind: Container, limits: Limits
    ) -> None:
        self._reader = reader
        self._index = index
        self._tried: dict[int, Sample] = {}  # fetched already, to see the shape of the pictures
        super().__init__(decoder, index.track, kind, limits)

    def _first_samples(self) -> Iterator[Sample]:
        for key in range(bisect_left(self._index.times, 0), len(self._index.times)):
            self._tried[key] = self._sample(key, *self._fetched(self._index.guess(key)))
            yield self._tried[key]

    def _choose(
        self, instants: Sequence[Fraction], step: Fraction, definition: Definition
    ) -> tuple[Numbers, Numbers]:
        alone: Numbers = {}
        runs: Numbers = {}
        for number, instant in enumerate(instants):
            key = self._nearest(instant)
            if key is not None and is_near_enough(
                self._index.times[key] * self._tick - instant, step, definition
            ):
                alone.setdefault(key, []).append(number)
            else:
                before = bisect_right(self._index.times, self._position(instant)) - 1
                runs.setdefault(max(0, before), []).append(number)
        return alone, runs

    def _nearest(self, instant: Fraction) -> int | None:
        """The nearest key frame that is shown: of two, the earlier."""
        times, tick = self._index.times, self._tick
        after = bisect_right(times, self._position(instant))
        near = [key for key in (after - 1, after) if 0 <= key < len(times) and times[key] >= 0]
        return min(near, key=lambda key: abs(times[key] * tick - instant), default=None)

    def _work(self, keys: Sequence[int]) -> list[list[int]]:
        """Key frames that lie near each other are read together."""
        groups: list[list[int]] = []
        start = stop = 0
        for key in (key for key in keys if key not in self._tried):
            first, last = self._index.guess(key)
            if groups and stop <= first <= stop + NEAR and last - start <= TOGETHER:
                groups[-1].append(key)
            else:
                groups.append([key])
                start = first
            stop = last
        return [[key] for key in keys if key in self._tried] + groups

    def _samples(self, work: list[int]) -> Iterator[tuple[int, Sample]]:
        if work[0] in self._tried:
            yield work[0], self._tried[work[0]]
            return
        ranges = [self._index.guess(key) for key in work]
        start = min(first for first, _ in ranges)
        _, data = self._fetched((start, max(last for _, last in ranges)))
        for key, (first, last) in zip(work, ranges, strict=True):
            yield key, self._sample(key, first, data[first - start : last - start])

    def _fetchers(self, work: list[list[int]]) -> int:
        spans = [(self._index.guess(group[0])[0], self._index.guess(group[-1])[1]) for group in work]
        largest = max((stop - start for start, stop in spans), default=0)
        return min(FETCHERS, AHEAD // max(1, min(largest, AHEAD)))

    def _earlier(self, key: int) -> int | None:
        return key - 1 if key else None

    def _first(self) -> int:
        return 0

    def _run(self, key: int, until: int) -> Iterator[Sample]:
        return self._index.run(key, until, self._reader.read)

    def _sample(self, key: int, start: int, data: bytes) -> Sample:
        while not isinstance(taken := self._index.take(key, start, data), Sample):
            start, data = self._fetched(taken)
        return taken

    def _fetched(self, span: ByteRange) -> tuple[int, bytes]:
        [data] = self._reader.read([span])
        return span[0], data
