"""Looking for key frames in MPEG-TS: which parts of the file to read next, from what was read so far.

The file is cut into chunks of some packets. Of each that was read the frames that begin in it are known, and,
while there is room, its bytes. A search is a generator that asks for chunks by number and goes on once they
are read: so many searches can go on side by side, each round one fetch.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lib.sprites.indexes import Fetch, NoIndex
from lib.sprites.indexes.mpegts_packets import Grid, Unit, units

CHUNK_PACKETS = 174
"""32 KiB."""
OVERLAP = 4
"""Packets of the next chunk that are read too, so that a frame that begins at the end tells what it is."""
KEPT = 640
"""Chunks whose bytes are kept: 20 MiB."""
FEW = 256
"""Chunks that may be read of any file: 8 MiB; else half of it, from which on it is cheaper read through."""
WRAP = 1 << 33
EARLY = 600 * 90_000
"""Ticks that a frame may be before the first one; all else is behind a wrap of the clock."""
MAX_STEPS = 40
"""Chunks that are read on the way to an instant."""
SAME = 90
"""Ticks that times may differ and still be meant to be the same."""
GROWTH = 4
"""Chunks that are read at once at the most, going on to one side."""

Wanted = Generator[list[int], None, "Frame | None"]


@dataclass(frozen=True)
class Frame:
    position: int
    time: int
    """Presentation time on the player's clock."""
    decoded: int
    key: bool


class Chunks:
    """`zero`: the player's zero on the file's clock."""

    def __init__(self, grid: Grid, pid: int, codec: str, zero: int) -> None:
        self.grid = grid
        self._pid = pid
        self._codec = codec
        self._zero = zero
        self._length = CHUNK_PACKETS * grid.stride
        self.count = max(1, -(-(grid.stop - grid.base) // self._length))
        self._frames: dict[int, list[Frame]] = {}
        self._bytes: OrderedDict[int, bytes] = OrderedDict()
        self.marks: list[tuple[int, int]] = []  # position and decoding time of frames here and there

    def time(self, stamp: int) -> int:
        """On the player's clock: unrolled."""
        ticks = (stamp - self._zero) % WRAP
        return ticks - WRAP if ticks >= WRAP - EARLY else ticks

    def number(self, position: int) -> int:
        return min(self.count - 1, max(0, position - self.grid.base) // self._length)

    def start(self, number: int) -> int:
        return self.grid.base + number * self._length

    def known(self, number: int) -> list[Frame] | None:
        """The frames that begin in a chunk, if it was read."""
        return self._frames.get(number)

    def read(self, numbers: Sequence[int], fetch: Fetch) -> None:
        """Reads those whose bytes are not at hand, neighbours together."""
        wanted = sorted({each for each in numbers if 0 <= each < self.count and each not in self._bytes})
        if len(self._frames) + len(wanted) > max(FEW, self.count // 2):
            raise NoIndex("More than half of the file would have to be read.")
        spans: list[list[int]] = []
        for each in wanted:
            if spans and spans[-1][-1] == each - 1:
                spans[-1].append(each)
            else:
                spans.append([each])
        if not spans:
            return
        overlap = OVERLAP * self.grid.stride
        ranges = [
            (self.start(span[0]), min(self.grid.stop, self.start(span[-1] + 1) + overlap)) for span in spans
        ]
        for span, (start, stop), data in zip(spans, ranges, fetch(ranges), strict=True):
            if len(data) != stop - start:
                raise NoIndex("The file is shorter than it says.")
            for each in span:
                at = self.start(each) - start
                self.keep(each, data[at : at + self._length + overlap])

    def keep(self, number: int, data: bytes) -> None:
        start = self.start(number)
        stop = start + self._length
        found = [
            Frame(unit.position, self.time(unit.pts), self.time(unit.dts or 0), unit.is_key(self._codec))
            for unit in units(data, start, self.grid, self._pid, self._codec)
            if unit.pts is not None and unit.dts is not None and unit.position < stop
        ]
        if number not in self._frames:
            for frame in {found[0], found[-1]} if found else ():
                self._mark(frame.position, frame.decoded)
        self._frames[number] = found
        self._bytes[number] = data[: self._length]
        self._bytes.move_to_end(number)
        while len(self._bytes) > KEPT:
            self._bytes.popitem(last=False)

    def mark(self, unit: Unit) -> None:
        """Remembers when and where a frame is that was read elsewhere."""
        if unit.dts is not None:
            self._mark(unit.position, self.time(unit.dts))

    def _mark(self, position: int, decoded: int) -> None:
        at = bisect.bisect_left(self.marks, (position, decoded))
        if self.marks[at : at + 1] == [(position, decoded)]:
            return
        for neighbour in self.marks[max(0, at - 1) : at + 1]:
            later = neighbour[1] - decoded
            if (later if neighbour[0] < position else -later) > 0:
                raise NoIndex("The clock of the file does not run on evenly.")
        self.marks.insert(at, (position, decoded))

    def unit(self, position: int) -> Unit | int:
        """The whole frame that begins here, or how many chunks from there on are at hand, if it does not end in
        them."""
        first = number = self.number(position)
        pieces = []
        while number in self._bytes:
            pieces.append(self._bytes[number])
            number += 1
        data = b"".join(pieces)[position - self.start(first) :]
        unit = next(units(data, position, self.grid, self._pid, self._codec), None)
        if unit is not None and (unit.whole or number >= self.count):
            return unit
        if number >= self.count or len(pieces) * self._length > 1 << 25:
            raise NoIndex("A frame is not where it was, or does not end.")
        return len(pieces)


class Search:
    """Where the key frames around instants are. `keys`: the first of the file, to learn from."""

    def __init__(self, chunks: Chunks, keys: Sequence[Frame]) -> None:
        self._chunks = chunks
        self._delay = keys[0].time - keys[0].decoded if keys else 0
        self._period: tuple[int, int] | None = None  # the time of a key frame, and ticks to the next
        self._missed = self._met = 0
        gaps = [after.time - before.time for before, after in pairwise(keys)]
        if gaps and min(gaps) > 0 and max(gaps) - min(gaps) <= SAME:
            self._period = keys[0].time, gaps[0]

    def nearest(self, instant: int, reach: int) -> Wanted:
        """The key frame nearest to the instant, within reach; where they come at equal distances the one that
        is expected, if it is there."""
        if self._period is not None:
            start, gap = self._period
            expected = start + max(0, (instant - start + gap // 2) // gap) * gap
            if abs(expected - instant) <= reach and (found := (yield from self._meet(expected))):
                return found
        first, last = yield from self._approach(instant - self._delay)
        return (yield from self._around(first, last, instant, reach))

    def before(self, instant: int) -> Wanted:
        """The last key frame that is shown at or before the instant; or the expected one, as above."""
        if self._period is not None and instant >= self._period[0]:
            start, gap = self._period
            found = yield from self._meet(start + (instant - start) // gap * gap)
            if found is not None:
                return found
        first, last = yield from self._approach(instant - self._delay)
        step = 1
        while True:
            keys = [each for each in self._keys(first, last) if each.time <= instant]
            if keys or first == 0:
                return max(keys, key=lambda each: each.time, default=None)
            following = max(0, first - step)
            yield self._unread(following, first)
            first, step = following, min(GROWTH, step * 2)

    def _meet(self, expected: int) -> Wanted:
        """The key frame that is expected at this time, if it is there."""
        first, last = yield from self._approach(expected - self._delay)
        met = [each for each in self._keys(first, last) if abs(each.time - expected) <= SAME]
        if met:
            self._met += 1
            return met[0]
        self._missed += 1
        if self._missed > self._met + 2:
            self._period = None
        return None

    def _approach(self, decoded: int) -> Generator[list[int], None, tuple[int, int]]:
        """The first and the last of some neighbouring chunks, all known, between whose frames the decoding time
        lies, or at whose end of the file."""
        chunks = self._chunks
        for step in range(MAX_STEPS):
            at = bisect.bisect_right(chunks.marks, decoded, key=lambda mark: mark[1])
            low = chunks.marks[at - 1] if at else None
            high = chunks.marks[at] if at < len(chunks.marks) else None
            first = chunks.number(low[0]) if low else 0
            last = chunks.number(high[0]) if high else chunks.count - 1
            if low and low[1] == decoded:
                return first, first
            number = first + (last - first) // 2
            if low and high and high[1] > low[1] and step % 4 != 3:
                number = first + (decoded - low[1]) * (last - first) // (high[1] - low[1])
            unknown = self._unknown(max(first, min(last, number)), first, last)
            if unknown is None:
                return first, last
            yield [unknown]
        raise NoIndex("The times of the file do not ascend.")

    def _unknown(self, number: int, first: int, last: int) -> int | None:
        """The chunk between these that is nearest to this one and not known."""
        for distance in range(last - first + 1):
            for each in (number - distance, number + distance):
                if first <= each <= last and self._chunks.known(each) is None:
                    return each
        return None

    def _around(self, first: int, last: int, instant: int, reach: int) -> Wanted:
        """Reads on from these chunks, on the side of which less is known, until none can be nearer."""
        step = 1
        while True:
            near = [each for each in self._keys(first, last) if abs(each.time - instant) <= reach]
            best = min(near, key=lambda each: abs(each.time - instant), default=None)
            distance = abs(best.time - instant) if best else reach
            span = self._span(first, last)
            back = instant - span[0] if span and first > 0 else (0 if first > 0 else None)
            ahead = span[1] - instant if span and last < self._chunks.count - 1 else None
            if last < self._chunks.count - 1 and span is None:
                ahead = 0
            sides = [each for each in (back, ahead) if each is not None and each < distance]
            if not sides:
                return best
            if back is not None and min(sides) == back:
                following = max(0, first - step)
                yield self._unread(following, first)
                first = following
            else:
                following = min(self._chunks.count - 1, last + step)
                yield self._unread(last + 1, following + 1)
                last = following
            step = min(GROWTH, step * 2)

    def _unread(self, first: int, stop: int) -> list[int]:
        return [each for each in range(first, stop) if self._chunks.known(each) is None]

    def _keys(self, first: int, last: int) -> list[Frame]:
        return [each for each in self._frames(first, last) if each.key]

    def _frames(self, first: int, last: int) -> list[Frame]:
        return [each for number in range(first, last + 1) for each in self._chunks.known(number) or ()]

    def _span(self, first: int, last: int) -> tuple[int, int] | None:
        """The times between which all key frames of these chunks are."""
        frames = self._frames(first, last)
        return (frames[0].decoded + self._delay, frames[-1].decoded + self._delay) if frames else None
