"""The frame for each instant: the nearest key frame alone, or decoded forward to the very frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from av.packet import Packet
from av.video.frame import VideoFrame

from lib.sprites.decoder.media import LEAD, Media
from lib.sprites.decoder.search import Index
from lib.sprites.definition import Definition

STEPS_BACK = 8
"""Key frames that a run starts earlier, one by one, when it brings no picture in time."""

Shown = tuple[int, VideoFrame]
"""The number of an instant and the frame for it."""


class Frames:
    def __init__(self, media: Media, definition: Definition, step: Fraction) -> None:
        self._media = media
        self._index = Index(media)
        self._slot = step / 2 if definition.accuracy == "auto" and definition.tolerance is None else None
        self._reach = self._tolerance(definition, step)
        self._last: tuple[int, VideoFrame] | None = None  # the key frame decoded last

    def show(self, instants: Sequence[Fraction]) -> Iterator[Shown]:
        """The frame for each of these ascending instants, not quite in their order: those that need decoding
        from the same key frame on wait for each other. An instant without any frame is left out."""
        positions = [self._media.ticks(instant) for instant in instants]
        key: int | None = None
        waiting: list[int] = []
        for number, position in enumerate(positions):
            frame = self._key_frame(position, instants[number])
            if frame is not None:
                yield number, frame
                continue
            start = self._index.before(position)
            if waiting and start != key:
                yield from self._forward(key, waiting, positions)
                waiting = []
            key = start
            waiting.append(number)
        if waiting:
            yield from self._forward(key, waiting, positions)

    def _tolerance(self, definition: Definition, step: Fraction) -> int:
        if definition.accuracy == "exact":
            return -1
        if definition.accuracy == "keyframe":
            return self._media.span(self._media.end + LEAD)
        if definition.tolerance is not None:
            return int(Fraction(str(definition.tolerance)) / self._media.tick)
        return int(step / 2 / self._media.tick)

    def _key_frame(self, position: int, instant: Fraction) -> VideoFrame | None:
        """The nearest key frame within the tolerance, if it makes a picture on its own."""
        if self._reach < 0:
            return None
        packet = self._index.nearest(position, self._reach)
        if packet is None or packet.pts is None:
            return None
        if self._slot is not None and self._media.clock(packet.pts) >= instant + self._slot:
            return None  # it belongs to the next tile's slot
        if self._last is None or self._last[0] != packet.pts:
            frame = self._alone(packet)
            if frame is None:
                return None
            self._last = packet.pts, frame
        return self._last[1]

    def _alone(self, packet: Packet) -> VideoFrame | None:
        self._media.flush()
        frames = [*self._media.decode(packet), *self._media.decode(None)]
        self._media.flush()
        return frames[0] if frames else None

    def _forward(self, key: int | None, numbers: list[int], positions: list[int]) -> Iterator[Shown]:
        for _ in range(STEPS_BACK):
            late = []
            for number, frame in self._decoded(key, numbers, positions):
                if frame is None or (frame.pts > positions[number] and key is not None):
                    late.append(number)
                else:
                    yield number, frame
            if not late:
                return
            numbers = late
            key = self._index.before(key - 1) if key is not None else None
        for number, frame in self._decoded(None, numbers, positions):
            if frame is not None:
                yield number, frame

    def _decoded(
        self, key: int | None, numbers: list[int], positions: list[int]
    ) -> Iterator[tuple[int, VideoFrame | None]]:
        """For each instant the last frame that is not after it; before the first of all frames, that one."""
        waiting = iter(numbers)
        number = next(waiting)
        last: VideoFrame | None = None
        self._media.flush()
        try:
            for frame in self._run(key):
                while frame.pts > positions[number]:
                    yield number, last or frame
                    following = next(waiting, None)
                    if following is None:
                        return
                    number = following
                last = frame
            yield number, last
            yield from ((each, last) for each in waiting)
        finally:
            self._media.flush()

    def _run(self, key: int | None) -> Iterator[VideoFrame]:
        for packet in self._index.run(key):
            yield from self._media.decode(packet)
        yield from self._media.decode(None)
