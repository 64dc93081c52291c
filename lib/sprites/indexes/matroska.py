"""Key frames of Matroska and WebM (RFC 9559) from their cues, or from the heads of their clusters.

Cues tell where a key frame begins, not how large it is: its own header does. So a first read is guessed low,
and the rest is asked for: that costs a request, but no bytes. Cues need not name every key frame.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction

from lib.sprites.indexes import ByteRange, Fetch, NoIndex, Sample, Track
from lib.sprites.indexes.access_units import disposable
from lib.sprites.indexes.ebml import LONGEST_READ, Source, element
from lib.sprites.indexes.matroska_blocks import (
    BEGINNING,
    BLOCK_GROUP,
    CLUSTER,
    HEAD,
    IN_CLUSTERS,
    IN_SEGMENTS,
    SIMPLE_BLOCK,
    Block,
    read_block,
    read_cluster,
    track_and_time,
)
from lib.sprites.indexes.matroska_cues import Cues
from lib.sprites.indexes.matroska_ends import player_zero, video_end
from lib.sprites.indexes.matroska_segment import TRACKS, Segment
from lib.sprites.indexes.matroska_tracks import SOUND, Entry, choose
from lib.sprites.indexes.pieces import LARGE, Pieces, shown_until

HEAD_LENGTHS = range(5, 13)
"""Bytes that the head of a cluster may have."""
NEAR = 1024
"""Bytes into a cluster up to which a key frame is read together with the head of the cluster."""
FIRST_GUESS = 16 * 1024
SEEN = 64
"""Key frames from whose sizes the next one's is guessed."""
LOST = 0.04
"""Share of the bytes of key frames that may be read in vain, so that fewer are read in two parts."""
MAX_TRIES = 64
"""Ranges that are asked for before a key frame is given up."""
IN_ORDER = ("vp8", "vp9", "av1", "mjpeg", "prores", "ffv1", "theora")


def open(fetch: Fetch, size: int, head: bytes) -> MatroskaIndex:
    """Raises NoIndex, and what `fetch` raises."""
    source = Source(fetch, size, head)
    segment = Segment(source)
    video, entries = choose(segment.read(TRACKS))
    scale, duration = segment.clock()
    tick = Fraction(scale, 1_000_000_000)
    cues = segment.cues(video.number)
    played = [video, *(each for each in entries if each.kind == SOUND and each.codec_id[:1] == b"A")]
    delays = {each.number: round(each.delay / scale) for each in played}
    second = round(1 / tick)
    zero = player_zero(source, segment.first_cluster(cues), segment.stop, delays, second)
    known = {each.number for each in entries}
    lasts = video.frame_lasts // scale
    end = video_end(source, cues.clusters[-1], cues.clusters_stop, video.number, known, lasts) or duration
    if not end:
        raise NoIndex("The file does not tell where it ends.")
    offset = zero + delays[video.number]
    track = Track(
        codec=video.codec,
        extradata=video.extradata,
        width=video.width,
        height=video.height,
        pixel_aspect=video.pixel_aspect,
        rotation=video.rotation,
        mirrored=video.mirrored,
        tick=tick,
        end=end - offset,
        colour=video.colour,
    )
    return MatroskaIndex(track, cues, video, offset, segment.stop)


class MatroskaIndex:
    """See Index. `offset`: ticks from the file's clock to the player's; `stop`: where the segment ends."""

    def __init__(self, track: Track, cues: Cues, video: Entry, offset: int, stop: int) -> None:
        self.track = track
        self.times: Sequence[int] = [time - offset for time in cues.times]
        self._cues = cues
        self._video = video
        self._offset = offset
        self._stop = stop
        self._disposable = disposable(video.codec, video.extradata)
        self._sizes: deque[int] = deque(maxlen=SEEN)
        self._head_length = HEAD_LENGTHS[0]
        self._places: dict[int, int] = {}  # of blocks that were found
        self._walks: dict[int, tuple[int, int, int]] = {}  # next element, end and time of the cluster
        self._kept: dict[int, tuple[int, bytes]] = {}  # beginnings of frames whose rest was asked for
        self._tries: dict[int, int] = {}

    def guess(self, key: int) -> ByteRange:
        start, offset = self._cues.clusters[key], self._cues.offsets[key]
        before = max(0, offset) + HEAD_LENGTHS[-1]
        if offset > NEAR:
            start, before = start + HEAD_LENGTHS[0] + offset, len(HEAD_LENGTHS)
        return self._range(start, before + BEGINNING + self._likely_size(key))

    def take(self, key: int, start: int, data: bytes) -> Sample | ByteRange:
        self._tries[key] = self._tries.get(key, 0) + 1
        if self._tries[key] > MAX_TRIES:
            raise NoIndex("A key frame is not found where the cues say.")
        start, data = self._joined(key, start, data)
        if key not in self._places:
            missing = self._locate(key, start, data)
            if missing is not None:
                return missing
        at = self._places[key]
        if at < start or (at + BEGINNING > start + len(data) and start + len(data) < self._stop):
            return self._range(at, BEGINNING + self._likely_size(key))
        found = element(data, at - start, self._stop - start)
        if found is None or found.stop - found.start > LONGEST_READ:
            raise NoIndex("A key frame is cut off, or too large.")
        if found.stop > len(data):
            self._kept[key] = at, data[at - start :]
            return start + len(data), start + found.stop
        block = read_block(data, found)
        if block is None or block.track != self._video.number or not block.key:
            raise NoIndex("A cue does not point at a key frame.")
        self._sizes.append(found.stop - found.start)
        self._tries.pop(key)
        time = self._walks[key][2] + block.time - self._offset if key in self._walks else self.times[key]
        return self._sample(time, data, block)

    def run(self, key: int, until: int, fetch: Fetch) -> Iterator[Sample]:
        pieces = Pieces(fetch, self._stop, self._run_stop(until))
        samples = (self._sample(time, data, block) for time, data, block in self._frames(key, pieces))
        yield from shown_until(samples, until, in_order=self.track.codec in IN_ORDER)

    def _frames(self, key: int, pieces: Pieces) -> Iterator[tuple[int, bytes, Block]]:
        """Times, and blocks in bytes, of the track from the key frame on."""
        at = self._cues.clusters[key]
        offset = self._cues.offsets[key]
        begun = False
        while at < self._stop:
            base, data = pieces.at(at, HEAD, only=offset > NEAR and not begun)
            found = element(data, at - base, self._stop - base)
            if found is None or found.id not in IN_SEGMENTS:
                raise NoIndex("There is something between clusters that does not belong there.")
            if found.id != CLUSTER:
                at = base + found.stop
                continue
            cluster = read_cluster(data, at - base, self._stop - base)
            stop, at = base + cluster.stop, base + cluster.blocks
            if not begun and offset >= 0:
                at = base + cluster.body + offset
            while at < stop:
                base, data = pieces.at(at, BEGINNING)
                found = element(data, at - base, stop - base)
                if found is not None and not cluster.sized and found.id in IN_SEGMENTS - IN_CLUSTERS:
                    break
                if found is None or found.id not in IN_CLUSTERS:
                    raise NoIndex("There is something in a cluster that does not belong there.")
                if found.id in (SIMPLE_BLOCK, BLOCK_GROUP):
                    told = track_and_time(data, found)
                    if told is None or told[0] == self._video.number:
                        base, data = pieces.at(at, found.stop - found.start)
                        block = read_block(data, element(data, at - base, stop - base) or found)
                        if block is None:
                            raise NoIndex("A block is cut off.")
                        time = cluster.time + block.time - self._offset
                        begun = begun or (block.key and time >= self.times[key])
                        if begun and block.track == self._video.number:
                            yield time, data, block
                at += found.stop - found.start

    def _sample(self, time: int, data: bytes, block: Block) -> Sample:
        if block.body < 0:
            raise NoIndex("Several frames share a block.")
        frame = self._video.stripped + data[block.body : block.stop]
        if self.track.codec == "prores" and frame[4:8] != b"icpf":
            frame = (len(frame) + 8).to_bytes(4, "big") + b"icpf" + frame
        return Sample(time, frame, block.key, not block.key and self._disposable(frame))

    def _likely_size(self, key: int) -> int:
        """Rather less than the size of the key frame: what is read too much is lost, what is missing is not."""
        clusters = self._cues.clusters
        following = clusters[key + 1] if key + 1 < len(clusters) else self._cues.clusters_stop
        room = following - clusters[key] if following > clusters[key] else FIRST_GUESS
        return min(self._usual_size(), room)

    def _usual_size(self) -> int:
        """The largest of those seen lately that would have been read for all of them with little lost."""
        sizes = sorted(self._sizes)
        usual, lost = FIRST_GUESS, 0
        for number, size in enumerate(sizes):
            lost += number * (size - sizes[number - 1]) if number else 0
            if lost > sum(sizes) * LOST:
                break
            usual = size
        return usual

    def _range(self, start: int, length: int) -> ByteRange:
        return start, min(self._stop, start + length)

    def _joined(self, key: int, start: int, data: bytes) -> tuple[int, bytes]:
        at, kept = self._kept.pop(key, (start, b""))
        if at <= start <= at + len(kept):
            return at, kept[: start - at] + data
        return start, data

    def _locate(self, key: int, start: int, data: bytes) -> ByteRange | None:
        """Finds the place of the block, or tells what has to be read for it."""
        place, offset = self._cues.clusters[key], self._cues.offsets[key]
        if key not in self._walks and place >= start:
            if place + HEAD > start + len(data) and start + len(data) < self._stop:
                return self._range(place, HEAD + self._likely_size(key))
            cluster = read_cluster(data, place - start, self._stop - start)
            self._head_length = cluster.body - cluster.start
            self._walks[key] = start + cluster.blocks, start + cluster.stop, cluster.time
            if offset >= 0:
                self._places[key] = start + cluster.body + offset
        elif key not in self._walks and offset >= 0:
            self._places[key] = self._guess_place(place + offset, start, data)
        if key in self._places:
            return None
        return self._walk(key, start, data)

    def _guess_place(self, place: int, start: int, data: bytes) -> int:
        """The head of the cluster was not read: a block of the track is after one of the lengths it may have."""
        for length in [self._head_length, *HEAD_LENGTHS]:
            at: int = place + length - start
            if not 0 <= at < len(data) or data[at] not in (SIMPLE_BLOCK, BLOCK_GROUP):
                continue
            try:
                found = element(data, at, self._stop - start)
                told = track_and_time(data, found) if found is not None else None
            except NoIndex:
                continue
            if told is not None and told[0] == self._video.number:
                self._head_length = length
                return start + at
        raise NoIndex("A cue does not point at a block of its track.")

    def _walk(self, key: int, start: int, data: bytes) -> ByteRange | None:
        """From block to block through the cluster, for cues that do not tell the place in it."""
        at, stop, cluster_time = self._walks[key]
        while at < stop:
            found = element(data, at - start, stop - start) if at >= start else None
            told = (
                track_and_time(data, found) if found and found.id in (SIMPLE_BLOCK, BLOCK_GROUP) else (0, 0)
            )
            if found is None or told is None:
                self._walks[key] = at, stop, cluster_time
                return self._range(at, min(LARGE, FIRST_GUESS << self._tries[key]))
            if found.id not in IN_CLUSTERS:
                break
            if told == (self._video.number, self._cues.times[key] - cluster_time):
                self._places[key] = at
                return None
            at = start + found.stop
        raise NoIndex("A cue tells a time that its cluster does not have.")

    def _run_stop(self, until: int) -> int:
        """Where the first key frame after this time should begin."""
        key = bisect.bisect_right(self.times, until)
        if key == len(self.times):
            return self._cues.clusters_stop
        return self._cues.clusters[key] + max(0, self._cues.offsets[key])
