"""Key frames of MP4 and MOV with a complete movie header, from its sample tables (ISO/IEC 14496-12, 8.6 and 8.7).

The tables stay the runs that they are, in arrays: nothing is made for each sample but while a run is read.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from operator import mul

from lib.sprites.indexes import ByteRange, Fetch, Index, NoIndex, Sample
from lib.sprites.indexes.boxes import Box, Data, Source, ascends, boxes, find, number, table
from lib.sprites.indexes.movie import Movie, Trak, describe, open_movie, player_zero
from lib.sprites.indexes.samples import Place, check, fetched, take

MAX_SAMPLES = 1 << 23
"""Of a track: 38 hours at 60 pictures a second."""
MAX_KEYS = 1 << 20
LONGEST_STEP = 1 << 28
"""Ticks between decoding and showing; libavformat takes more for nonsense."""
LONGEST_LEAD = 1 << 16
"""Samples that are looked at before the first one that an edit list shows."""


def open(fetch: Fetch, size: int, head: bytes) -> Index:
    """`head`: how the file of this size begins."""
    movie = open_movie(Source(fetch, size, head))
    if movie.extended:
        raise NoIndex("The video is in fragments.")
    try:
        return _Tables(size, movie)
    except OverflowError:
        raise NoIndex("The tables hold times or places beyond all measure.") from None


class _Tables:
    """The key frames that are shown, and those that decoding towards the first shown frame starts at."""

    def __init__(self, size: int, movie: Movie) -> None:
        trak = movie.video
        if not trak.timescale:
            raise NoIndex("The track does not tell time.")
        self._size = size
        self._table = table = Table(trak, size)
        if len(table.keys) > MAX_KEYS:
            raise NoIndex("There are too many key frames.")
        numbers, times = table.keys, array("q", map(table.composed, table.keys))
        if not times or not ascends(times):
            raise NoIndex("There are no key frames, or they are out of order.")
        duration = min(filter(None, (trak.duration, table.duration)), default=0)
        start, self._shift, first, last = table.composed(0), 0, 0, len(times)
        if trak.edit or trak.odd_edits:
            _refuse_odd_edits(movie)
            assert trak.edit
            begins, lasts = trak.edit
            duration = min(duration, lasts)
            first, last = table.find_key(times, begins), bisect_left(times, begins + lasts)
            start, self._shift = trak.delay, trak.delay - table.origin(numbers[first], begins, lasts)
        zero = player_zero(
            Fraction(start, trak.timescale), [(each, sound_start(each)) for each in movie.sounds]
        )
        if start - zero * trak.timescale > 0 and times[first] + self._shift < start:
            raise NoIndex("Frames that are not shown lie in the time before the video starts.")
        ticks = math.lcm(trak.timescale, zero.denominator)
        self._factor = ticks // trak.timescale
        self._zero = int(zero * ticks)
        kept = [key for key in range(first, last) if table.sizes[numbers[key]]]
        if not kept:
            raise NoIndex("No key frame is shown.")
        self._numbers = array("I", (numbers[key] for key in kept))
        self._positions = array("Q", table.positions(self._numbers))
        self.times: Sequence[int] = array("q", (self._clock(times[key]) for key in kept))
        end = (start + duration) * self._factor - self._zero
        self.track = describe(trak, tick=Fraction(1, ticks), end=end)
        for number_, position in zip(self._numbers, self._positions, strict=True):
            check(position, table.sizes[number_], size)
        check(next(table.positions([table.count - 1])), table.sizes[-1], size)

    def guess(self, key: int) -> ByteRange:
        position = self._positions[key]
        return position, position + self._table.sizes[self._numbers[key]]

    def take(self, key: int, start: int, data: bytes) -> Sample | ByteRange:
        size = self._table.sizes[self._numbers[key]]
        return take(self.times[key], self._positions[key], size, start, data)

    def run(self, key: int, until: int, fetch: Fetch) -> Iterator[Sample]:
        return fetched(self._places(self._numbers[key], until), self._size, fetch)

    def _clock(self, composed: int) -> int:
        return (composed + self._shift) * self._factor - self._zero

    def _places(self, first: int, until: int) -> Iterator[Place]:
        table = self._table
        samples = range(first, table.count)
        for sample, position in zip(samples, table.positions(samples), strict=True):
            decoded = table.decoded(sample)
            if self._clock(decoded + table.earliest) > until and sample > first:
                return
            time = self._clock(decoded + table.offset(sample))
            key, disposable = table.is_key(sample), table.disposable(sample)
            yield Place(time, position, table.sizes[sample], key, disposable)


def _refuse_odd_edits(movie: Movie) -> None:
    trak = movie.video
    if trak.odd_edits or not trak.edit or not trak.edit[1]:
        raise NoIndex("The edit list is not one stretch of the media.")
    for other in movie.preceding:  # libavformat reads no edit lists after such a track
        if (other.first_table_row(b"stts") or (0,))[0] == 0:
            raise NoIndex("The edit list comes after an empty track.")


def sound_start(trak: Trak) -> Fraction | None:
    """Seconds on the movie's clock; None without any sound in it."""
    steps = trak.first_table_row(b"stts")
    if steps is None or not steps[0] or not trak.timescale:
        return None
    if trak.edit:
        return Fraction(trak.delay, trak.timescale)
    return Fraction((trak.first_table_row(b"ctts") or (0, 0, 0))[2], trak.timescale)


class Table:
    """Where and when the samples of a track are, by their number."""

    def __init__(self, trak: Trak, size: int) -> None:
        data, stbl = trak.data, trak.tables
        if stbl is None:
            raise NoIndex("The track has no sample tables.")
        kinds = {box.kind: box for box in boxes(data, stbl.body, stbl.stop)}
        _check_references(trak)
        self.sizes = _sizes(data, kinds, size)
        self.count = len(self.sizes)
        stts = _rows(data, kinds.get(b"stts"), 2)
        self._steps, self._first_of_step, self._step_starts = stts[1::2], _starts(stts[0::2]), array("q")
        if self.count and (not self._steps or max(self._steps) > 1 << 31):
            raise NoIndex("The decoding times are missing or odd.")
        self._step_starts.extend(accumulate(map(mul, stts[0::2], self._steps), initial=0))
        self.duration = self._step_starts[-1]
        ctts = _rows(data, kinds.get(b"ctts"), 2)
        self._offsets, self._first_of_offset = array("i", ctts[1::2].tobytes()), _starts(ctts[0::2])
        if self._offsets:
            if max(self._offsets) > LONGEST_STEP or min(self._offsets) < -LONGEST_STEP:
                raise NoIndex("The presentation times are odd.")
            if self._first_of_offset[-1] < self.count:
                raise NoIndex("There are fewer presentation times than samples.")
        self.earliest = min(self._offsets, default=0)
        """The least that a sample may be shown after it is decoded."""
        self._read_chunks(data, kinds)
        self.keys = self._read_keys(data, kinds, stbl)
        sdtp = kinds.get(b"sdtp")
        self._depended = bytes(data[sdtp.body + 4 : sdtp.stop]) if sdtp else b""

    def decoded(self, sample: int) -> int:
        run = min(bisect_right(self._first_of_step, sample), len(self._steps)) - 1
        return self._step_starts[run] + (sample - self._first_of_step[run]) * self._steps[run]

    def offset(self, sample: int) -> int:
        if not self._offsets:
            return 0
        return self._offsets[bisect_right(self._first_of_offset, sample) - 1]

    def composed(self, sample: int) -> int:
        return self.decoded(sample) + self.offset(sample)

    def positions(self, samples: Iterable[int]) -> Iterator[int]:
        """Of ascending samples: what lies between two of them in a chunk is added up only once."""
        chunk_before, sample_before, position = -1, 0, 0
        for sample in samples:
            chunk, first = self._chunk(sample)
            if chunk != chunk_before:
                chunk_before, sample_before, position = chunk, first, self._chunks[chunk]
            position += sum(self.sizes[sample_before:sample])
            sample_before = sample
            yield position

    def is_key(self, sample: int) -> bool:
        place = bisect_left(self.keys, sample)
        return place < len(self.keys) and self.keys[place] == sample

    def disposable(self, sample: int) -> bool:
        """ISO/IEC 14496-12, 8.6.4: no other sample depends on this one."""
        return sample < len(self._depended) and self._depended[sample] >> 2 & 3 == 2

    def find_key(self, times: Sequence[int], begins: int) -> int:
        """Of the keys (composed at these times) the one to start at for what is shown from then on."""
        place = bisect_right(times, begins) - 1
        while place > 0 and self.decoded(self.keys[place]) > begins:
            place -= 1
        return max(place, 0)

    def origin(self, sample: int, begins: int, lasts: int) -> int:
        """The time of composition that an edit's beginning falls on: the first frame's that is in it."""
        decoded = composed = -1
        for each in range(sample, min(self.count, sample + LONGEST_LEAD)):
            step, shown = self.decoded(each), self.composed(each)
            if composed >= 0 and step + self.earliest > composed:
                break
            if begins <= shown < begins + lasts:
                decoded = step if composed < 0 else decoded
                composed = shown if composed < 0 else min(composed, shown)
        if composed < 0:
            raise NoIndex("The edit list shows no frame.")
        return max(decoded, composed)

    def _chunk(self, sample: int) -> tuple[int, int]:
        """The chunk that holds a sample, and the first sample in it."""
        run = bisect_right(self._first_of_run, sample) - 1
        within = sample - self._first_of_run[run]
        chunk, rest = divmod(within, self._per_chunk[run])
        return self._run_chunks[run] + chunk, sample - rest

    def _read_chunks(self, data: Data, kinds: dict[bytes, Box]) -> None:
        wide, narrow = kinds.get(b"co64"), kinds.get(b"stco")
        offsets = wide or narrow
        if offsets is None:
            raise NoIndex("The track does not say where its samples are.")
        count = number(data, offsets.body + 4)
        self._chunks = table(data, offsets, offsets.body + 8, count, "Q" if wide else "I")
        rows = _rows(data, kinds.get(b"stsc"), 3)
        if not self.count:
            return
        first, self._per_chunk = rows[0::3], rows[1::3]
        if not first or first[0] != 1 or not all(self._per_chunk) or any(kind != 1 for kind in rows[2::3]):
            raise NoIndex("The chunks are odd.")
        lengths = array("q", (after - before for before, after in pairwise(first)))
        if (lengths and min(lengths) <= 0) or first[-1] > count:
            raise NoIndex("The chunks are out of order.")
        self._run_chunks = array("q", (chunk - 1 for chunk in first))
        counts = map(mul, chain(lengths, [count - first[-1] + 1]), self._per_chunk)
        self._first_of_run = _starts(counts)
        if self._first_of_run.pop() < self.count:
            raise NoIndex("There are fewer places than samples.")

    def _read_keys(self, data: Data, kinds: dict[bytes, Box], stbl: Box) -> Sequence[int]:
        """Numbers of the samples that decoding may start at, from 0."""
        if b"stss" not in kinds:
            return range(self.count)
        keys = _rows(data, kinds[b"stss"], 1)
        if not keys or keys[0] == 0 or not ascends(keys) or keys[-1] > self.count:
            raise NoIndex("The list of key frames is empty or odd.")
        more: set[int] = set()
        if b"stps" in kinds:  # QuickTime: key frames whose successors may need what came before
            more.update(_rows(data, kinds[b"stps"], 1))
        for box in boxes(data, stbl.body, stbl.stop):
            if box.kind == b"sbgp":
                more.update(self._random_access(data, box))
        if more:
            keys = array("I", sorted(more.union(keys)))
            if keys[0] == 0 or keys[-1] > self.count:
                raise NoIndex("The list of key frames is odd.")
        return array("I", (key - 1 for key in keys))

    def _random_access(self, data: Data, box: Box) -> Iterator[int]:
        """Samples of the group `rap `: open groups of pictures."""
        if data[box.body + 4 : box.body + 8] != b"rap ":
            return
        at = box.body + (12 if number(data, box.body, 1) == 1 else 8)
        rows = table(data, box, at + 4, number(data, at) * 2, "I")
        sample = 1
        for count, group in zip(rows[0::2], rows[1::2], strict=True):
            if sample + count > self.count + 1:
                raise NoIndex("The sample groups are odd.")
            if group:
                if count > MAX_KEYS:
                    raise NoIndex("There are too many key frames.")
                yield from range(sample, sample + count)
            sample += count


def _check_references(trak: Trak) -> None:
    """Samples may be in other files."""
    dref = find(trak.data, trak.box, b"mdia", b"minf", b"dinf", b"dref")
    if dref is None:
        return
    for box in boxes(trak.data, dref.body + 8, dref.stop):
        if not number(trak.data, box.body + 3, 1) & 1:
            raise NoIndex("The samples are in another file.")


def _rows(data: Data, box: Box | None, width: int) -> array[int]:
    if box is None:
        return array("I")
    return table(data, box, box.body + 8, number(data, box.body + 4) * width, "I")


def _starts(counts: Iterable[int]) -> array[int]:
    """The number of the first sample of each run, and of what comes after the last."""
    return array("q", accumulate(counts, initial=0))


def _sizes(data: Data, kinds: dict[bytes, Box], size: int) -> array[int]:
    box = kinds.get(b"stsz")
    if box is not None:
        each, count = number(data, box.body + 4), number(data, box.body + 8)
        if count > MAX_SAMPLES or each * count > size:
            raise NoIndex("There are more samples than the file can hold.")
        return array("I", [each]) * count if each else table(data, box, box.body + 12, count, "I")
    box = kinds.get(b"stz2")
    if box is None:
        raise NoIndex("The track does not say how large its samples are.")
    bits, count = number(data, box.body + 7, 1), number(data, box.body + 8)
    if count > MAX_SAMPLES or bits not in (4, 8, 16):
        raise NoIndex("The sizes of the samples are odd.")
    if bits == 4:
        packed = table(data, box, box.body + 12, (count + 1) // 2, "B")
        return array("I", [half for byte in packed for half in (byte >> 4, byte & 15)])[:count]
    return array("I", table(data, box, box.body + 12, count, "B" if bits == 8 else "H"))
