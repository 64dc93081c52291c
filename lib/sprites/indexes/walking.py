"""From fragment to fragment through a file without an index: in lanes side by side, for each step waits for an
answer from afar.

A lane begins wherever the header of a fragment is seen in the middle of the file. It counts only if the lane
before it arrives exactly there, so bytes that merely look like a header mislead nobody.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from lib.sprites.indexes import NoIndex
from lib.sprites.indexes.boxes import Box, Source, header, number
from lib.sprites.indexes.fragments import Defaults, is_key, rows

FIRST_GUESS = 4096
"""Bytes in which the header of a fragment is looked for, until one was larger."""
BULK = 1 << 20
"""Bytes read at once where fragments are small."""
SMALL = 64 * 1024
"""Bytes of a fragment that it is not worth hopping over."""
ALONE = 4
"""Steps before there are lanes."""
MAX_LANES = 32
PER_LANE = 8
"""Fragments that make a lane worth while."""
MAX_SEARCH = 4 << 20
"""Bytes in which the beginning of a lane is looked for."""
MAX_STEPS = 4096
MAX_BOXES = 1 << 18
MAX_SAMPLES = 1 << 23
LARGEST_HEADER = 1 << 24
"""Bytes of a `moof`."""


@dataclass
class Keys:
    """Key frames: composed at, position, size, and the position of their fragment."""

    times: array[int] = field(default_factory=lambda: array("q"))
    positions: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("I"))
    fragments: array[int] = field(default_factory=lambda: array("Q"))
    end: int = -(1 << 62)
    """When the last frame stops being shown."""

    def extend(self, other: Keys) -> None:
        self.times += other.times
        self.positions += other.positions
        self.sizes += other.sizes
        self.fragments += other.fragments
        self.end = max(self.end, other.end)


@dataclass(eq=False)
class _Lane:
    origin: int
    position: int
    keys: Keys = field(default_factory=Keys)
    wanted: int = 0
    """Bytes that the next header needs, if it is known."""
    arrived: bool = False


class _Walk:
    def __init__(self, source: Source, given: Defaults, start: int, stop: int) -> None:
        self._source = source
        self._given = given
        self._stop = stop
        self.lanes = [_Lane(start, start)]
        self._guess = FIRST_GUESS
        self._passed = self._fragments = self._boxes = self._samples = 0

    def step(self) -> None:
        """Every lane a piece forward, all by one fetch."""
        moving = [lane for lane in self.lanes if not lane.arrived]
        ranges = [
            (lane.position, min(self._stop, lane.position + max(lane.wanted, self._guess))) for lane in moving
        ]
        for lane, data in zip(moving, self._source.fetch_all(ranges), strict=True):
            if lane not in self.lanes:
                continue
            try:
                self._advance(lane, data)
            except NoIndex:
                if lane is self.lanes[0]:
                    raise
                self.lanes.remove(lane)
        if self._fragments and self._passed // self._fragments < SMALL:
            self._guess = max(self._guess, BULK)

    def spread(self) -> None:
        """Lanes in the rest of the file, if there seem to be enough fragments."""
        lane = self.lanes[0]
        if lane.arrived or not self._fragments:
            return
        usual = self._passed // self._fragments + 1
        count = min(MAX_LANES, (self._stop - lane.position) // usual // PER_LANE)
        if count < 2 or usual < SMALL:
            return
        rest = (self._stop - lane.position) // count
        starts = [lane.position + rest * place for place in range(1, count)]
        ranges = [(start, min(self._stop, start + min(usual * 3 // 2, MAX_SEARCH))) for start in starts]
        for start, data in zip(starts, self._source.fetch_all(ranges), strict=True):
            at = _find_fragment(data)
            if at is not None and start + at > self.lanes[-1].origin:
                self.lanes.append(_Lane(start + at, start + at))

    def _advance(self, lane: _Lane, data: bytes) -> None:
        start, at = lane.position, 0
        lane.wanted = 0
        while not self._arrives(lane) and (box := header(data, at, 1 << 62)) is not None:
            if start + box.stop > self._source.size:
                raise NoIndex("The file is cut off.")  # the demuxer takes what is there, and tells
            if box.kind == b"moof" and box.stop > len(data):
                lane.wanted = box.stop - at
                if lane.wanted > LARGEST_HEADER:
                    raise NoIndex("The header of a fragment is too large.")
                return
            if box.kind == b"moof":
                self._guess = max(self._guess, min(BULK, (box.stop - at) * 5 // 4 + 64))
                self._read(lane, data, box, start + at)
            self._fragments += box.kind == b"mdat"
            self._passed += box.stop - at
            at = box.stop
            lane.position = min(self._stop, start + at)
            self._boxes += 1
            if self._boxes > MAX_BOXES:
                raise NoIndex("There are too many fragments.")

    def _read(self, lane: _Lane, data: bytes, box: Box, position: int) -> None:
        keys = lane.keys
        for _, composed, place, size, flags, lasts in rows(data, box, position, self._given):
            self._samples += 1
            if place + size > self._source.size:
                raise NoIndex("The file is cut off.")
            if is_key(flags) and size:
                keys.times.append(composed)
                keys.positions.append(place)
                keys.sizes.append(size)
                keys.fragments.append(position)
            keys.end = max(keys.end, composed + lasts)
        if self._samples > MAX_SAMPLES:
            raise NoIndex("There are too many samples.")

    def _arrives(self, lane: _Lane) -> bool:
        """Whether the lane is where the next one begins, or at the end."""
        here = self.lanes.index(lane)
        while here + 1 < len(self.lanes) and self.lanes[here + 1].origin < lane.position:
            del self.lanes[here + 1]
        following = self.lanes[here + 1].origin if here + 1 < len(self.lanes) else self._stop
        lane.arrived = lane.position + 8 > self._stop or lane.position == following
        return lane.arrived


def walk(source: Source, given: Defaults, start: int, stop: int, steps: int = MAX_STEPS) -> Keys:
    """The key frames of the fragments between these places of the file. Raises NoIndex when that takes more
    than so many steps."""
    tour = _Walk(source, given, start, stop)
    for count in range(steps):
        if all(lane.arrived for lane in tour.lanes):
            found = Keys()
            for lane in tour.lanes:
                found.extend(lane.keys)
            return found
        if count == ALONE:
            tour.spread()
        tour.step()
    raise NoIndex("There are too many fragments.")


def _find_fragment(data: bytes) -> int | None:
    """Where a `moof` begins: it holds an `mfhd` of 16 bytes first."""
    at = data.find(b"moof", 4)
    while at >= 0:
        if data[at + 4 : at + 12] == b"\0\0\0\x10mfhd" and number(data, at - 4) <= LARGEST_HEADER:
            return at - 4
        at = data.find(b"moof", at + 4)
    return None
