"""Where the key frames are, found by seeking: as little is read as the container's own index allows."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from av.packet import Packet

from lib.sprites.media import Media

WINDOW = Fraction(1)
"""Seconds that are searched first where a container has no index; four times as much each time after that."""
RUN_UP = Fraction(1)
"""Seconds read ahead of a key frame there: the first packet after a seek may be the rest of a frame."""


class Index:
    """Key frames of a media, as packets of their own. All positions and distances are in ticks."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._start: int | None = None
        self._known: tuple[int, int] | None = None  # neighbouring key frames

    def nearest(self, position: int, reach: int) -> Packet | None:
        """The key frame nearest to the position (of two, the earlier); None if there is none within reach."""
        if not self._media.kind.indexed:
            return self._scan_nearest(position, reach)
        before = self._land(position, backward=True)
        if before is not None and position - reach <= _pts(before) == position:
            return before
        after = self._land(position, backward=False)
        near = [packet for packet in (before, after) if packet and abs(_pts(packet) - position) <= reach]
        return min(near, key=lambda packet: abs(_pts(packet) - position), default=None)

    def before(self, position: int) -> int | None:
        """The last key frame that is shown at or before the position."""
        if self._known and self._known[0] <= position < self._known[1]:
            return self._known[0]
        aim, back = position, self._media.span(WINDOW)
        if not self._media.kind.indexed:
            return self._scan_before(position)
        while True:
            packet = self._land(aim, backward=True)
            if packet is not None and _pts(packet) <= position:
                return _pts(packet)
            if aim < self._first():
                return None
            aim = position - back
            back *= 4

    def run(self, key: int | None) -> Iterator[Packet]:
        """The packets from this key frame on; from the first of all if it is None."""
        media = self._media
        late = media.span(RUN_UP)
        back = 0 if media.kind.indexed else late
        while key is not None and key - back >= self._first():
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

    def _first(self) -> int:
        if self._start is None:
            start = self._media.stream.start_time
            self._start = start if start is not None else self._media.ticks(Fraction(0))
        return self._start

    def _land(self, position: int, *, backward: bool) -> Packet | None:
        if not self._media.seek(position, backward=backward):
            return None
        return next((packet for packet in self._media.packets() if _is_key(packet)), None)

    def _keys(self, start: int, stop: int, *, beyond: bool = False) -> Iterator[Packet]:
        """The key frames shown from start to stop (and the one after that), where there is no index."""
        media = self._media
        margin = media.span(RUN_UP)
        if start - margin <= self._first() or not media.seek(start - margin):
            media.rewind()
        for packet in media.packets():
            if _is_key(packet) and start <= _pts(packet):
                if _pts(packet) <= stop or beyond:
                    yield packet
                if _pts(packet) > stop:
                    return
            elif not beyond and packet.dts is not None and packet.dts > stop:
                return

    def _scan_nearest(self, position: int, reach: int) -> Packet | None:
        window = min(reach, self._media.span(WINDOW))
        while True:
            best: Packet | None = None
            for packet in self._keys(position - window, position + window):
                if best is None or abs(_pts(packet) - position) < abs(_pts(best) - position):
                    best = packet
                if _pts(packet) >= position:
                    break
            everything = position - window < self._first()
            if best is not None or window >= reach:
                return best
            window = min(reach, window * 4) if not everything else reach

    def _scan_before(self, position: int) -> int | None:
        window = self._media.span(WINDOW)
        while True:
            last: int | None = None
            for packet in self._keys(position - window, position, beyond=True):
                if _pts(packet) > position:
                    if last is not None:
                        self._known = (last, _pts(packet))
                    break
                last = _pts(packet)
            if last is not None or position - window < self._first():
                return last
            window *= 4


def _is_key(packet: Packet) -> bool:
    return packet.is_keyframe and packet.pts is not None


def _pts(packet: Packet) -> int:
    assert packet.pts is not None
    return packet.pts
