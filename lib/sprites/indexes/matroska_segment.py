"""The segment of a Matroska file (RFC 9559, 5.1): what lies where in it."""

from __future__ import annotations

from lib.sprites.indexes import NoIndex
from lib.sprites.indexes.ebml import NUMBER, Source, content, element, elements, number, real
from lib.sprites.indexes.matroska_blocks import CLUSTER, HEAD
from lib.sprites.indexes.matroska_cues import CUES, Cues, read_cues, walk_clusters
from lib.sprites.indexes.matroska_ends import TAIL

EBML, SEGMENT, SEEK_HEAD, INFO, TRACKS = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B
SEEK, SEEK_ID, SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
SCALE, DURATION = 0x2AD7B1, 0x4489
MAX_ELEMENTS = 64
"""Elements of the segment that are looked at before its clusters."""
HEADER = 16
"""Bytes that hold the header of any element."""
SHORT_REST = 2 << 20
"""Bytes from the cues to the end of the file that are read at once."""


class Segment:
    """What lies where in the file, from its first elements and its seek heads."""

    def __init__(self, source: Source) -> None:
        self._source = source
        start = source.ahead(0, 2 * HEAD)
        header = element(start, 0, source.size)
        if header is None or header.id != EBML:
            raise NoIndex("This is not Matroska.")
        found = element(start, header.stop, source.size)
        if found is None or found.id != SEGMENT:
            raise NoIndex("There is no segment.")
        self.start, self.stop = found.body, found.stop
        self._places: dict[int, int] = {}
        self._walk()

    def read(self, name: int) -> bytes:
        """The content of this element."""
        if name not in self._places:
            raise NoIndex("There is no track list, or no information of the segment.")
        at = self._places[name]
        found = element(self._source.ahead(at, HEADER), 0, self.stop - at)
        if found is None or found.id != name or not found.sized:
            raise NoIndex("An element is not where it should be.")
        return self._source.read(at + found.body, at + found.stop)

    def clock(self) -> tuple[int, int]:
        """Nanoseconds of a tick, and the ticks that all lasts (0: not told)."""
        info = self.read(INFO)
        fields = {each.id: each for each in elements(info, 0, len(info))}
        scale = number(info, fields[SCALE]) if SCALE in fields else 1_000_000
        duration = round(real(info, fields[DURATION])) if DURATION in fields else 0
        if not 0 < scale < 1 << 32 or not 0 <= duration < NUMBER:
            raise NoIndex("The clock of the file is not possible.")
        return scale, duration

    def cues(self, track: int) -> Cues:
        place = self._places.get(CUES)
        if place is None:
            first = self._places.get(CLUSTER)
            if first is None:
                raise NoIndex("There are no clusters.")
            return walk_clusters(self._source, first, self.stop, track)
        if self.stop - place <= SHORT_REST:  # with the end of the last cluster, which is wanted next
            self._source.ahead(max(self.start, place - TAIL), self.stop - max(self.start, place - TAIL))
        cues = read_cues(self.read(CUES), track, self.start, self.stop)
        if place > cues.clusters[-1]:
            cues.clusters_stop = place
        return cues

    def first_cluster(self, cues: Cues) -> int:
        return self._places.get(CLUSTER, min(cues.clusters))

    def _walk(self) -> None:
        at = self.start
        for _ in range(MAX_ELEMENTS):
            if at >= self.stop:
                return
            found = element(self._source.ahead(at, HEADER), 0, self.stop - at)
            if found is None:
                return
            self._places.setdefault(found.id, at)
            if found.id == CLUSTER or not found.sized:
                return
            if found.id == SEEK_HEAD:
                self._follow(self._source.read(at + found.body, at + found.stop))
            at += found.stop
            if {INFO, TRACKS, CUES} <= self._places.keys() and found.stop > TAIL:
                return

    def _follow(self, seek_head: bytes) -> None:
        for seek in elements(seek_head, 0, len(seek_head)):
            if seek.id != SEEK:
                continue
            fields = {each.id: each for each in elements(seek_head, seek.body, seek.stop)}
            if SEEK_ID in fields and SEEK_POSITION in fields:
                name = int.from_bytes(content(seek_head, fields[SEEK_ID])[:4], "big")
                place = self.start + number(seek_head, fields[SEEK_POSITION])
                if name in (INFO, TRACKS, CUES) and place < self.stop:
                    self._places.setdefault(name, place)
