"""Where the key frames are, found by seeking: as little is read as the container's own index allows."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from fractions import Fraction

from av.packet import Packet

from lib.sprites.decoder.media import LEAD, Media

WINDOW = Fraction(1)
"""Seconds that are searched first where a container has no index; four times as much each time after that."""
RUN_UP = Fraction(1)
"""Seconds read ahead of a key frame there: the first packet after a seek may be the rest of a frame."""


class Index:
    """Key frames of a media. All positions and distances are in ticks."""

    def __init__(self, media: Media) -> None:
        self._media = media
        start = media.stream.start_time
        self._first = start if start is not None else media.ticks(Fraction(0))
        self._fetched: Packet | None = None
        self._landed: int | None = None
        self._gap: tuple[int, int | None] | None = None  # a key frame and the next one, if there is one
        self._covered: list[tuple[int, int]] = []  # searched, where there is no index: spans apart ...
        self._found: list[int] = []  # ... and the key frames in them

    def nearest(self, position: int, reach: int) -> Packet | None:
        """The key frame nearest to the position (of two, the earlier); None if there is none within reach."""
        if not self._media.kind.indexed:
            return self._search_nearest(position, reach)
        if self._in_gap(position):
            assert self._gap is not None
            keys = [key for key in self._gap if key is not None and abs(key - position) <= reach]
            return self._fetch(min(keys, key=lambda key: abs(key - position))) if keys else None
        before = self._land(position, backward=True)
        if before is not None and before.pts == position:
            return before
        after = self._land(position, backward=False)
        if before is not None and _pts(before) < position:
            self._gap = _pts(before), after.pts if after else None
        near = [packet for packet in (before, after) if packet and abs(_pts(packet) - position) <= reach]
        return min(near, key=lambda packet: abs(_pts(packet) - position), default=None)

    def before(self, position: int) -> int | None:
        """The last key frame that is shown at or before the position."""
        if not self._media.kind.indexed:
            return self._search_before(position)
        if self._in_gap(position):
            assert self._gap is not None
            return self._gap[0]
        aim, back = position, self._media.span(WINDOW)
        while True:
            packet = self._land(aim, backward=True)
            if packet is not None and _pts(packet) <= position:
                key = _pts(packet)
                if key == self._landed:  # it may serve many more: where does it end?
                    after = self._land(position, backward=False)
                    self._gap = key, after.pts if after else None
                self._landed = key
                return key
            if aim < self._first:
                return None
            aim = position - back
            back *= 4

    def run(self, key: int | None) -> Iterator[Packet]:
        """The packets from this key frame on; from the first of all if it is None."""
        media = self._media
        late = media.span(RUN_UP)
        back = 0 if media.kind.indexed else late
        while key is not None and key - back >= self._first:
            if media.seek(key - back):
                packets = media.packets()
                for packet in packets:
                    if packet.is_keyframe and packet.pts == key:
                        yield packet
                        yield from packets
                        return
                    if packet.dts is not None and packet.dts > key + late:
                        break
            back = max(late, back * 4)
        media.rewind()
        yield from (
            packet for packet in media.packets() if key is None or packet.pts is None or packet.pts >= key
        )

    def _fetch(self, key: int) -> Packet | None:
        if self._fetched is None or self._fetched.pts != key:
            self._fetched = next(self.run(key), None)
        return self._fetched

    def _in_gap(self, position: int) -> bool:
        if self._gap is None:
            return False
        key, following = self._gap
        return key <= position and (following is None or position < following)

    def _land(self, position: int, *, backward: bool) -> Packet | None:
        if not self._media.seek(position, backward=backward):
            return None
        return next((packet for packet in self._media.packets() if _is_key(packet)), None)

    def _search_nearest(self, position: int, reach: int) -> Packet | None:
        window = min(reach, self._media.span(WINDOW))
        while True:
            self._cover(position - window, position + window)
            near = [key for key in self._found if abs(key - position) <= window]
            if near:
                return self._fetch(min(near, key=lambda key: abs(key - position)))
            if window >= reach:
                return None
            window = min(reach, window * 4)

    def _search_before(self, position: int) -> int | None:
        window = self._media.span(WINDOW)
        while True:
            self._cover(position - window, position)
            count = bisect.bisect_right(self._found, position)
            if count and self._found[count - 1] >= position - window:
                return self._found[count - 1]
            if position - window < self._first:
                return None
            window *= 4

    def _cover(self, start: int, stop: int) -> None:
        """Searches what is not searched yet from start to stop, both included."""
        start = max(start, self._first - self._media.span(LEAD))
        stop = min(stop, self._media.ticks(self._media.end) + 1)
        at = start
        for done_from, done_to in [*self._covered, (stop + 1, stop + 1)]:
            if at < done_from and at <= stop:
                self._search(at, min(stop, done_from - 1))
            at = max(at, done_to + 1)
        spans: list[tuple[int, int]] = []
        for span in sorted([*self._covered, (start, stop)]):
            if spans and span[0] <= spans[-1][1] + 1:
                spans[-1] = spans[-1][0], max(span[1], spans[-1][1])
            else:
                spans.append(span)
        self._covered = spans

    def _search(self, start: int, stop: int) -> None:
        media = self._media
        margin = media.span(RUN_UP)
        if start - margin <= self._first or not media.seek(start - margin):
            media.rewind()
        for packet in media.packets():
            if packet.dts is not None and packet.dts > stop:
                break
            if _is_key(packet) and start <= _pts(packet) <= stop:
                bisect.insort(self._found, _pts(packet))


def _is_key(packet: Packet) -> bool:
    return packet.is_keyframe and packet.pts is not None


def _pts(packet: Packet) -> int:
    assert packet.pts is not None
    return packet.pts
