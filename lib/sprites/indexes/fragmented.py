"""Key frames of fragmented MP4: by its segment index, by its random access index, or from fragment to fragment."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice

from lib.sprites.indexes import ByteRange, Fetch, Index, NoIndex, Sample
from lib.sprites.indexes.boxes import Box, Source, ascends, header
from lib.sprites.indexes.fragments import (
    Defaults,
    Entries,
    Row,
    by_random_access,
    by_segments,
    defaults,
    first_time,
    is_disposable,
    is_key,
    rows,
)
from lib.sprites.indexes.movie import Movie, describe, open_movie, player_zero
from lib.sprites.indexes.mp4 import MAX_KEYS, Table, sound_start
from lib.sprites.indexes.samples import Place, check, fetched, take
from lib.sprites.indexes.walking import LARGEST_HEADER, Keys, walk

GUESS = 4096
"""Bytes in which the header of a fragment is looked for."""
PROBE = 16 * 1024
"""Bytes of a fragment that are read to see whether the index tells the truth."""
SEARCHED = 8
"""Fragments in which the first sound is looked for."""
LAST = 16
"""Fragments that the last entry of an index may stand for."""
MAX_ESTIMATE = 4 << 20
"""Bytes that are fetched at once for a key frame whose size is not known."""
MAX_BOXES = 1 << 18


def open(fetch: Fetch, size: int, head: bytes) -> Index:
    """`head`: how the file of this size begins."""
    source = Source(fetch, size, head)
    movie = open_movie(source)
    if not movie.extended:
        raise NoIndex("The video is not in fragments.")
    try:
        return _Fragments(source, movie)
    except OverflowError:
        raise NoIndex("The fragments hold times or places beyond all measure.") from None


class _Fragments:
    """Key frames whose place in their fragment is looked up when they are taken, if the index only tells of
    fragments. Those of a first part that is not in fragments come from its tables."""

    def __init__(self, source: Source, movie: Movie) -> None:
        trak = movie.video
        if not trak.timescale or trak.odd_edits:
            raise NoIndex("The track does not tell time, or its edit list is not one stretch of the media.")
        self._size = source.size
        self._given = defaults(movie)
        self._shift = trak.delay - (trak.edit[0] if trak.edit else 0)
        self._estimate = PROBE
        self._wanted: dict[int, ByteRange] = {}
        self._keys = Keys()
        self._table = self._read_tables(movie)
        self._after = movie.box.stop
        found = self._from_index(source, movie) or walk(source, self._given, self._after, source.size)
        self._keys.extend(found)
        if not self._keys.times or not ascends(self._keys.times):
            raise NoIndex("There are no key frames, or they are out of order.")
        zero = self._player_zero(source, movie)
        ticks = math.lcm(trak.timescale, zero.denominator)
        self._factor, self._zero = ticks // trak.timescale, int(zero * ticks)
        self.times: Sequence[int] = array("q", map(self._clock, self._keys.times))
        self.track = describe(trak, tick=Fraction(1, ticks), end=self._clock(self._keys.end))
        for position, length in zip(self._keys.positions, self._keys.sizes, strict=True):
            check(position, length, source.size)

    # -- key frames

    def guess(self, key: int) -> ByteRange:
        position, size = self._keys.positions[key], self._keys.sizes[key]
        if size:
            return position, position + size
        start = self._keys.fragments[key]
        return start, min(self._stop(key), start + self._estimate)

    def take(self, key: int, start: int, data: bytes) -> Sample | ByteRange:
        if not self._keys.sizes[key]:
            missing = self._look_up(key, start, data)
            if missing is not None:
                if self._wanted.get(key) == missing:
                    raise NoIndex("A fragment is cut off.")
                self._wanted[key] = missing
                return missing
        return take(self.times[key], self._keys.positions[key], self._keys.sizes[key], start, data)

    def run(self, key: int, until: int, fetch: Fetch) -> Iterator[Sample]:
        return fetched(self._places(key, until, Source(fetch, self._size, b"")), self._size, fetch)

    def _clock(self, composed: int) -> int:
        return (composed + self._shift) * self._factor - self._zero

    def _stop(self, key: int) -> int:
        following = self._keys.fragments[key + 1 : key + 2]
        return following[0] if following else self._size

    def _look_up(self, key: int, start: int, data: bytes) -> ByteRange | None:
        """Finds the place of the key frame in its fragment; or tells the bytes that this takes."""
        position, stop = self._keys.fragments[key], self._stop(key)
        if self._wanted.get(key, (0, 0))[0] == start:
            position = start
        if not start <= position < start + len(data):
            return position, min(stop, position + GUESS)
        while position < stop:
            at = position - start
            box = header(data, at, self._size - start) if at < len(data) else None
            if box is None:
                return position, min(stop, position + GUESS)
            if box.kind == b"moof":
                if box.stop > len(data):
                    return position, start + box.stop
                if self._found(key, first_key(rows(data, box, position, self._given))):
                    return None
            position = start + box.stop
        raise NoIndex("A fragment has no key frame where the index tells of one.")

    def _found(self, key: int, row: Row | None) -> bool:
        if row is None:
            return False
        _, composed, position, size, _, lasts = row
        if abs(composed - self._keys.times[key]) > lasts:
            raise NoIndex("A key frame is not where the index tells of it.")
        check(position, size, self._size)
        self._keys.positions[key], self._keys.sizes[key] = position, size
        return True

    # -- runs

    def _places(self, key: int, until: int, source: Source) -> Iterator[Place]:
        position, begun = self._keys.fragments[key], False
        if self._table is not None and not position:
            table, begun = self._table, True
            first = table.keys[key]
            position = self._after
            for sample, place in zip(
                range(first, table.count), table.positions(range(first, table.count)), strict=True
            ):
                decoded = table.decoded(sample)
                if sample > first and self._clock(decoded + table.earliest) > until:
                    return
                yield Place(
                    self._clock(table.composed(sample)),
                    place,
                    table.sizes[sample],
                    table.is_key(sample),
                    table.disposable(sample),
                )
        for found in _through(source, self._given, position):
            samples = list(found)
            earliest = min((composed - decoded for decoded, composed, *_ in samples), default=0)
            for decoded, composed, place, size, flags, _ in samples:
                if not begun:
                    begun = is_key(flags) and bool(size) and self._keys.positions[key] in (0, place)
                    if not begun:
                        continue
                elif self._clock(decoded + min(0, earliest)) > until or place + size > self._size:
                    return
                yield Place(self._clock(composed), place, size, is_key(flags), is_disposable(flags))
            if samples and begun and self._clock(samples[-1][0] + samples[-1][5] + min(0, earliest)) > until:
                return

    # -- opening

    def _read_tables(self, movie: Movie) -> Table | None:
        """The key frames before the first fragment."""
        steps = movie.video.first_table_row(b"stts")
        if steps is None or not steps[0]:
            return None
        table, edit = Table(movie.video, self._size), movie.video.edit
        if edit and table.keys and table.origin(table.keys[0], edit[0], 1 << 62) != edit[0]:
            raise NoIndex("The edit list does not begin with a frame.")
        if len(table.keys) > MAX_KEYS:
            raise NoIndex("There are too many key frames.")
        self._keys.times.extend(map(table.composed, table.keys))
        self._keys.positions.extend(table.positions(table.keys))
        self._keys.sizes.extend(table.sizes[each] for each in table.keys)
        self._keys.fragments.extend([0] * len(table.keys))
        if not all(self._keys.sizes):
            raise NoIndex("A key frame is empty.")
        return table

    def _from_index(self, source: Source, movie: Movie) -> Keys | None:
        entries = by_segments(source, self._after, movie.video.number, movie.video.timescale)
        found = self._trusted(source, entries) if entries else None
        if found is None and (entries := by_random_access(source, movie.video.number)):
            found = self._trusted(source, entries)
        return found

    def _trusted(self, source: Source, entries: Entries) -> Keys | None:
        """What an index tells, once some of its fragments were seen to be so; None if they are not. Whether
        its times count edit lists differs from writer to writer, so this is taken from the fragments."""
        count = len(entries.starts)
        starts, stops = entries.starts, entries.stops
        if not count or not ascends(starts) or not ascends(entries.times) or stops[-1] > source.size:
            return None
        probed = sorted({0, count // 2, count - 1})
        ranges = [(starts[each], min(stops[each], starts[each] + PROBE)) for each in probed]
        source.together([*ranges, (stops[-1], min(source.size, stops[-1] + 16))])
        behind = header(source.ahead(stops[-1], 16), 0, source.size - stops[-1])
        if behind is not None and behind.kind in (b"moof", b"styp", b"sidx", b"mdat"):
            return None
        seen: dict[int, Row] = {}
        for each in probed:
            row = next(map(first_key, _through(source, self._given, starts[each], stops[each])), None)
            if row is None:
                return None
            seen[each] = row
        drifts = {seen[each][1] - entries.times[each] for each in probed[1:] or probed}
        if len(drifts) > 1:
            return None
        drift = drifts.pop()
        times = array("q", (time + drift for time in entries.times))
        nothing = [0] * count
        keys = Keys(times, array("Q", nothing), array("I", nothing), array("Q", starts))
        for each, (_, composed, position, size, _, _) in seen.items():
            keys.times[each], keys.positions[each], keys.sizes[each] = composed, position, size
        for found in islice(_through(source, self._given, starts[-1], stops[-1]), LAST):
            keys.end = max(keys.end, max((row[1] + row[5] for row in found), default=keys.end))
        needed = (row[2] + row[3] - starts[each] for each, row in seen.items())
        self._estimate = max(self._estimate, min(MAX_ESTIMATE, max(needed) * 5 // 4))
        return keys

    def _player_zero(self, source: Source, movie: Movie) -> Fraction:
        trak = movie.video
        first = self._table.composed(0) if self._table else None
        sounds = {each.number: sound_start(each) for each in movie.sounds}
        waiting = {
            each.number: each for each in movie.sounds if each.timescale and sounds[each.number] is None
        }
        for box, data, position in islice(_moofs(source, self._after, source.size), SEARCHED):
            if first is None:
                row = next(rows(data, box, position, self._given), None)
                first = row[1] if row else None
            for number in list(waiting):
                time = first_time(data, box, number)
                if time is not None:
                    sound = waiting.pop(number)
                    delay = sound.delay - (sound.edit[0] if sound.edit else 0)
                    sounds[number] = Fraction(time + delay, sound.timescale)
            if first is not None and (not waiting or first + self._shift <= 0):
                break
        if first is None:
            raise NoIndex("The first fragments have no pictures.")
        start = Fraction(first + self._shift, trak.timescale)
        return player_zero(start, [(each, sounds[each.number]) for each in movie.sounds])


def first_key(found: Iterable[Row]) -> Row | None:
    return next((row for row in found if is_key(row[4]) and row[3]), None)


def _moofs(source: Source, position: int, stop: int) -> Iterator[tuple[Box, bytes, int]]:
    """The headers of fragments from here on, with the bytes they are in."""
    for _ in range(MAX_BOXES):
        if position + 8 > stop:
            return
        box = header(source.ahead(position, 16, GUESS), 0, 1 << 62)
        if box is None or position + box.body > source.size:
            return
        if box.kind == b"moof":
            data = source.ahead(position, box.stop, min(box.stop + 16, LARGEST_HEADER))
            if len(data) < box.stop:
                return  # cut off here
            yield box, data, position
        position += box.stop


def _through(
    source: Source, given: Defaults, position: int, stop: int | None = None
) -> Iterator[Iterator[Row]]:
    """The samples of the fragments that have any of the track's."""
    for box, data, place in _moofs(source, position, source.size if stop is None else stop):
        found = rows(data, box, place, given)
        row = next(found, None)
        if row is not None:
            yield chain([row], found)
