"""Movie fragments (`moof`) of one track, and the indexes of them (ISO/IEC 14496-12, 8.8 and 8.16)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat

from lib.sprites.indexes import NoIndex
from lib.sprites.indexes.boxes import Box, Data, Source, boxes, find, header, number, table
from lib.sprites.indexes.movie import Movie

MAX_RUN = 1 << 18
"""Samples of one run."""
MAX_DEPTH = 3
"""Indexes of indexes."""
NOT_SYNC, DEPENDS = 1 << 16, 1 << 24
TAIL = 64 * 1024
"""Bytes at the end of the file that are looked at for an index."""

Row = tuple[int, int, int, int, int, int]
"""Decoded, composed, position, size, flags, duration of a sample; times on the clock of its media."""


def is_key(flags: int) -> bool:
    """8.8.3.1, as libavformat reads it."""
    return not flags & (NOT_SYNC | DEPENDS)


def is_disposable(flags: int) -> bool:
    return flags >> 22 & 3 == 2


@dataclass
class Defaults:
    track: int
    duration: int
    size: int
    flags: int


def defaults(movie: Movie) -> Defaults:
    return Defaults(movie.video.number, *movie.defaults)


def rows(data: Data, moof: Box, position: int, given: Defaults) -> Iterator[Row]:
    """The samples of the track, in decoding order. `position`: of the fragment in the file."""
    for place, traf in enumerate(each for each in boxes(data, moof.body, moof.stop) if each.kind == b"traf"):
        tfhd = find(data, traf, b"tfhd")
        if tfhd is None or number(data, tfhd.body + 4) != given.track:
            continue
        flags, at = number(data, tfhd.body) & 0xFFFFFF, tfhd.body + 8
        base = position
        if flags & 1:
            base = number(data, at, 8)
        elif not flags & 0x20000 and place:
            raise NoIndex("The samples of a fragment lie behind those of another track.")
        at += 8 * (flags & 1) + 4 * (flags >> 1 & 1)
        own = [given.duration, given.size, given.flags]
        for field, bit in enumerate((8, 16, 32)):
            if flags & bit:
                own[field] = number(data, at)
                at += 4
        time, end = _decode_time(data, traf), base
        for box in boxes(data, traf.body, traf.stop):
            if box.kind == b"trun":
                run = _Run(data, box, own)
                start = end if run.offset is None else base + run.offset
                yield from run.rows(time, start)
                time, end = time + run.lasts, start + run.length


def first_time(data: Data, moof: Box, track: int) -> int | None:
    """When the first sample of a track in a fragment is shown."""
    for traf in boxes(data, moof.body, moof.stop):
        tfhd = find(data, traf, b"tfhd") if traf.kind == b"traf" else None
        if tfhd is not None and number(data, tfhd.body + 4) == track:
            return _decode_time(data, traf)
    return None


class _Run:
    """`trun`, 8.8.8."""

    def __init__(self, data: Data, box: Box, own: list[int]) -> None:
        flags, self.count = number(data, box.body) & 0xFFFFFF, number(data, box.body + 4)
        at = box.body + 8
        self.offset = number(data, at, signed=True) if flags & 1 else None
        at += 4 * (flags & 1)
        first_flags = number(data, at) if flags & 4 else own[2]
        at += flags & 4
        if self.count > MAX_RUN:
            raise NoIndex("A fragment has too many samples.")
        given = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
        values = table(data, box, at, self.count * len(given), "I")
        columns = {bit: values[place :: len(given)] for place, bit in enumerate(given)}
        self._durations = columns.get(0x100) or array("I", own[:1]) * self.count
        self._sizes = columns.get(0x200) or array("I", own[1:2]) * self.count
        self._flags = columns.get(0x400) or array("I", own[2:]) * self.count
        if self.count and 0x400 not in columns:
            self._flags[0] = first_flags
        self._offsets = array("i", columns[0x800].tobytes()) if 0x800 in columns else repeat(0, self.count)
        self.lasts, self.length = sum(self._durations), sum(self._sizes)

    def rows(self, time: int, start: int) -> Iterator[Row]:
        """From this decoding time and position on."""
        if start < 0:
            raise NoIndex("A fragment begins before the file does.")
        decoded, positions = accumulate(self._durations, initial=time), accumulate(self._sizes, initial=start)
        columns = zip(
            decoded, self._offsets, positions, self._sizes, self._flags, self._durations, strict=False
        )
        for each, offset, position, size, flags, lasts in columns:
            yield each, each + offset, position, size, flags, lasts


# -- indexes


@dataclass
class Entries:
    """Fragments that begin with a key frame, as an index tells; times as it tells them."""

    starts: list[int]
    stops: list[int]
    times: list[int]


def by_segments(source: Source, position: int, track: int, timescale: int) -> Entries | None:
    """`sidx` boxes from this place of the file on; None if they tell of other tracks, or not every key frame."""
    found = Entries([], [], [])
    for _ in range(64):
        box = header(source.ahead(position, 16, 4096), 0, source.size - position)
        if box is None or box.kind in (b"moof", b"mdat"):
            break
        if box.kind == b"sidx":
            data = source.ahead(position, box.stop)
            if number(data, box.body + 4) == track and not _segments(
                source, [(position, data)], track, timescale, found, MAX_DEPTH
            ):
                return None
        position += box.stop
    return found if found.starts else None


def _segments(
    source: Source,
    indexes: Sequence[tuple[int, Data]],
    track: int,
    timescale: int,
    found: Entries,
    depth: int,
) -> bool:
    """Adds what these indexes tell; whether all of it is of use."""
    for position, data in indexes:
        box = header(data, 0, len(data))
        if box is None or box.kind != b"sidx" or not depth or number(data, box.body + 4) != track:
            return False
        length = 8 if number(data, box.body, 1) else 4
        scale, at = number(data, box.body + 8), box.body + 12
        time = number(data, at, length)
        place = position + box.stop + number(data, at + length, length)
        at += 2 * length + 2
        values = table(data, box, at + 2, number(data, at, 2) * 3, "I")
        inner = []
        for size, lasts, access in zip(values[0::3], values[1::3], values[2::3], strict=True):
            size, nested = size & 0x7FFFFFFF, size >> 31
            if nested:
                inner.append((place, place + size))
            elif not access >> 31 or not scale or time * timescale % scale:
                return False
            else:
                found.starts.append(place)
                found.stops.append(place + size)
                found.times.append((time + (access & 0xFFFFFFF)) * timescale // scale)
            place, time = place + size, time + lasts
        if inner:
            if len(inner) != len(values) // 3:
                return False
            parts = source.fetch_all(inner)
            below = [(start, part) for (start, _), part in zip(inner, parts, strict=True)]
            if not _segments(source, below, track, timescale, found, depth - 1):
                return False
    return True


def by_random_access(source: Source, track: int) -> Entries | None:
    """`mfra` at the end of the file (8.8.9 to 8.8.11); None if there is none."""
    tail = source.ahead(max(0, source.size - 16), 16, 16)
    if tail[4:8] != b"mfro" or len(tail) < 16:
        return None
    start = source.size - number(tail, 12)
    if start < 0:
        return None
    data = memoryview(source.read(start, source.size))
    mfra = header(data, 0, len(data))
    if mfra is None or mfra.kind != b"mfra":
        return None
    for box in boxes(data, mfra.body, mfra.stop):
        if box.kind == b"tfra" and number(data, box.body + 4) == track:
            return _accesses(data, box, start)
    return None


def _accesses(data: Data, box: Box, stop: int) -> Entries:
    length = 8 if number(data, box.body, 1) == 1 else 4
    widths = number(data, box.body + 8)
    step = 2 * length + sum((widths >> shift & 3) + 1 for shift in (0, 2, 4))
    count = number(data, box.body + 12)
    if box.body + 16 + count * step > box.stop:
        raise NoIndex("The index of fragments is shorter than it says.")
    found = Entries([], [], [])
    for at in range(box.body + 16, box.body + 16 + count * step, step):
        found.times.append(number(data, at, length))
        found.starts.append(number(data, at + length, length))
    found.stops = [*found.starts[1:], stop]
    return found


def _decode_time(data: Data, traf: Box) -> int:
    tfdt = find(data, traf, b"tfdt")
    if tfdt is None:
        raise NoIndex("A fragment does not tell its time.")
    return number(data, tfdt.body + 4, 8 if number(data, tfdt.body, 1) == 1 else 4)
