"""Key frames of MPEG-TS (ISO/IEC 13818-1), which has no table of them: they are looked for by time."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from lib.sprites.indexes import Fetch, NoIndex, Sample, Track
from lib.sprites.indexes.access_units import disposable, frames_in, parameters
from lib.sprites.indexes.mpegts_packets import Grid, Program, Unit, find_grid, read_program, units
from lib.sprites.indexes.mpegts_search import WRAP, Chunks, Frame, Search
from lib.sprites.indexes.parameter_sets import shape
from lib.sprites.indexes.pieces import LARGE, shown_until

TICK = Fraction(1, 90_000)
MORE = 1 << 19
"""Bytes after the head in which sound may begin."""
TAIL = 128 * 1024
"""Bytes of the end that are looked at first, then twice as many."""
MAX_TAIL = 8 << 20
ENOUGH = 8
"""Frames at the end among which is the one that is shown last."""
LEARNED = 2
"""Key frames that tell at what distance the next ones are expected."""
MAX_LEARNING = 2 << 20
"""Bytes that are read for that."""
A_FIELD = 2_900
"""Ticks: interlaced frames last longer than that, fields do not."""
LONGEST = 1 << 25
"""Bytes of a frame."""
FIRST_GUESS = 64 * 1024
"""Bytes of the first key frame that is fetched."""
MAX_TRIES = 256
"""Reads for one frame."""
BATCH = 50
"""Instants that are looked for side by side."""


def open(fetch: Fetch, size: int, head: bytes) -> TransportStream:
    """Raises NoIndex, and what `fetch` raises."""
    head = head[:size]
    grid = find_grid(head, size)
    program = read_program(head, grid)
    frames = list(units(head[grid.base :], grid.base, grid, program.video, program.codec))
    first = frames[0].pts if frames else None
    if first is None or frames[0].dts is None:
        raise NoIndex("The video does not begin where the file does.")
    zero = min((_after(first, each) for each in _sound_starts(fetch, grid, head, program)), default=0)
    zero = (first + min(0, zero)) % WRAP
    chunks = Chunks(grid, program.video, program.codec, zero)
    whole = frames[:-1] if len(head) < size else frames
    sets = next((found for each in whole if (found := parameters(program.codec, each.data))), b"")
    size_told = shape(program.codec, sets)
    end, lasts = _end(fetch, grid, program, chunks, head)
    if size_told.fields and lasts < A_FIELD:
        raise NoIndex("Each field of a frame comes on its own.")
    track = Track(
        codec=program.codec,
        extradata=b"",
        width=size_told.width,
        height=size_told.height,
        pixel_aspect=None,
        rotation=0,
        mirrored=False,
        tick=TICK,
        end=end,
    )
    return TransportStream(track, chunks, program, grid, sets, head)


def _after(first: int, stamp: int) -> int:
    """Ticks after the first, or (negative) before it, wherever the clock wraps."""
    ticks = (stamp - first) % WRAP
    return ticks - WRAP if ticks >= WRAP // 2 else ticks


def _sound_starts(fetch: Fetch, grid: Grid, head: bytes, program: Program) -> Iterator[int]:
    data = head[grid.base :]
    more = False
    for pid in program.sounds:
        stamp = next((each.pts for each in units(data, 0, grid, pid) if each.pts is not None), None)
        if stamp is None and not more:
            more, stop = True, min(grid.stop, len(head) + MORE)
            if stop > len(head):
                data += fetch([(len(head), stop)])[0]
            stamp = next((each.pts for each in units(data, 0, grid, pid) if each.pts is not None), None)
        if stamp is not None:
            yield stamp


def _end(fetch: Fetch, grid: Grid, program: Program, chunks: Chunks, head: bytes) -> tuple[int, int]:
    """When the last frame ends, and how long one lasts."""
    start, data = grid.stop, b""
    while True:
        before, start = start, grid.down(max(grid.base, grid.stop - max(TAIL, 2 * len(data))))
        at_hand = head[start : min(before, len(head))]
        more = at_hand if len(at_hand) == before - start else fetch([(start, before)])[0]
        if len(more) != before - start:
            raise NoIndex("The file is shorter than it says.")
        data = more + data
        found = [
            each for each in units(data, start, grid, program.video, program.codec) if each.pts is not None
        ]
        times = sorted({chunks.time(each.pts or 0) for each in found})
        if len(times) >= ENOUGH or start == grid.base:
            break
        if len(data) >= MAX_TAIL:
            raise NoIndex("There is hardly any video at the end of the file.")
    for unit in found:
        chunks.mark(unit)
    if not times:
        raise NoIndex("There is no video that tells its times.")
    gaps = sorted(after - before for before, after in pairwise(times))
    lasts = gaps[len(gaps) // 2] if gaps else 0
    return times[-1] + lasts, lasts


class TransportStream:
    """See Probed. `sets`: the first parameter sets of the stream."""

    def __init__(
        self, track: Track, chunks: Chunks, program: Program, grid: Grid, sets: bytes, head: bytes
    ) -> None:
        self.track = track
        self._chunks = chunks
        self._program = program
        self._grid = grid
        self._sets = sets
        self._disposable = disposable(track.codec, sets)
        self._search: Search | None = None
        self._found: dict[int, int] = {}  # positions of key frames, by time
        self._sizes: list[int] = []
        for number in range(chunks.count):
            start = chunks.start(number)
            stop = min(grid.stop, chunks.start(number + 2))
            if stop > len(head):
                break
            chunks.keep(number, head[start:stop])

    def find(self, instants: Sequence[int], reach: int | None, fetch: Fetch) -> list[Sample | None]:
        search = self._search = self._search or self._learn(fetch)
        found: list[Sample | None] = []
        for start in range(0, len(instants), BATCH):
            found += self._find(search, instants[start : start + BATCH], reach, fetch)
        return found

    def _find(
        self, search: Search, instants: Sequence[int], reach: int | None, fetch: Fetch
    ) -> list[Sample | None]:
        found: list[Sample | None] = [None] * len(instants)
        under_way = [
            self._one(search, instant, reach, found, number) for number, instant in enumerate(instants)
        ]
        while under_way:
            wanted: list[int] = []
            for steps in list(under_way):
                chunks = next(steps, None)
                if chunks is None:
                    under_way.remove(steps)
                else:
                    wanted += chunks
            self._chunks.read(wanted, fetch)
        return found

    def run(self, key: int, until: int, fetch: Fetch) -> Iterator[Sample]:
        if key not in self._found:
            raise NoIndex("This is not the time of a key frame that was found.")
        samples = self._samples(self._found[key], fetch)
        yield from shown_until(samples, until, in_order=False)

    def _learn(self, fetch: Fetch) -> Search:
        keys: list[Frame] = []
        number, step = 0, 8
        while len(keys) < LEARNED and number < self._chunks.count:
            if self._chunks.start(number) > MAX_LEARNING:
                break
            if self._chunks.known(number) is None:
                self._chunks.read(range(number, number + step), fetch)
                step *= 2
            keys += [each for each in self._chunks.known(number) or () if each.key]
            number += 1
        return Search(self._chunks, keys)

    def _one(
        self, search: Search, instant: int, reach: int | None, found: list[Sample | None], number: int
    ) -> Generator[list[int], None, None]:
        """Finds the key frame for an instant, then all its bytes."""
        frame = yield from (search.before(instant) if reach is None else search.nearest(instant, reach))
        if frame is None:
            return
        self._found[frame.time] = frame.position
        chunk = self._chunks.number(frame.position)
        count = 1 + self._likely_size() // (self._chunks.start(1) - self._chunks.start(0))
        yield list(range(chunk, chunk + count))
        for _ in range(MAX_TRIES):
            unit = self._chunks.unit(frame.position)
            if not isinstance(unit, int):
                break
            yield list(range(chunk, chunk + unit + 2))
        else:
            raise NoIndex("A key frame is too large.")
        self._sizes.append(sum(map(len, unit.parts)))
        found[number] = self._sample(unit, frame.time, key=True)

    def _likely_size(self) -> int:
        """Rather less than the size of the next key frame."""
        latest = sorted(self._sizes[-64:])
        return latest[len(latest) // 4] if latest else FIRST_GUESS

    def _samples(self, position: int, fetch: Fetch) -> Iterator[Sample]:
        """The frames from this place on; their bytes are read in pieces."""
        data, start = b"", position
        while start + len(data) < self._grid.stop:
            if len(data) > LONGEST:
                raise NoIndex("A frame is too large.")
            begin = start + len(data)
            stop = min(self._grid.stop, self._grid.down(begin + LARGE))
            stop = stop if stop > begin else self._grid.stop
            (more,) = fetch([(begin, stop)])
            if len(more) != stop - begin:
                raise NoIndex("The file is shorter than it says.")
            data += more
            rest = start
            for unit in units(data, start, self._grid, self._program.video, self.track.codec):
                rest = unit.position
                if unit.whole or stop == self._grid.stop:
                    if unit.pts is None:
                        raise NoIndex("A frame does not tell its time.")
                    yield self._sample(unit, self._chunks.time(unit.pts), key=unit.is_key(self.track.codec))
            data, start = data[rest - start :], rest

    def _sample(self, unit: Unit, time: int, *, key: bool) -> Sample:
        data = unit.data
        if frames_in(self.track.codec, data) > 1:
            raise NoIndex("Several frames share a packet.")
        if key and not parameters(self.track.codec, data):
            data = self._sets + data
        return Sample(time, data, key, not key and self._disposable(data))
