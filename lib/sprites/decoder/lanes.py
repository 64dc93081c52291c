"""Lanes: bare decoders side by side, one thread each, fed with samples that the parent found and fetched."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from lib.sprites.decoder.pictures import Orientation, Painter, display_size, orientation
from lib.sprites.decoder.wire import Message, unpack

DECODERS = {"av1": "libdav1d"}
"""FFmpeg's own decoder of that name works with hardware only."""
WAITING = 8
"""Samples that may wait for one lane; then the pipe fills, and the parent fetches no more."""


class Codec:
    """What all lanes decode: the track, and the tile that its pictures are scaled to."""

    def __init__(self, head: dict[str, Any], extradata: bytes) -> None:
        """Raises ValueError for a codec that is not built in."""
        self._name = DECODERS.get(head["codec"], head["codec"])
        self._extradata = extradata
        self._max_pixels = head["max_pixels"]
        self.tick = unpack(head["tick"]) or Fraction(1)
        self.aspect = unpack(head["aspect"])
        self.turn = Orientation(head["rotation"], head["mirrored"])
        self.colour = head["colour"]
        self.tile: dict[str, Any] = {}
        av.Codec(self._name, "r")

    def decoder(self) -> VideoCodecContext:
        context = av.CodecContext.create(self._name, "r")
        assert isinstance(context, VideoCodecContext)
        if self._extradata:
            context.extradata = self._extradata
        context.options = {"max_pixels": str(self._max_pixels)}
        # Frames are asked for one by one: threads of the decoder's own would only add latency.
        context.thread_count = 1
        return context


class Lane(threading.Thread):
    def __init__(self, codec: Codec, answer: Callable[..., None]) -> None:
        super().__init__(daemon=True)
        self.tasks: queue.Queue[Message] = queue.Queue(WAITING)
        self._codec = codec
        self._answer = answer
        self._context = codec.decoder()
        self._painter: Painter | None = None

    def run(self) -> None:
        work = {"shape": self._shape, "key": self._key, "run": self._run}
        while True:
            head, body = self.tasks.get()
            work[head["do"]](head, body)

    def _shape(self, head: dict[str, Any], body: bytes) -> None:
        """What a frame is before it is scaled; and how all are shown, where only the stream tells."""
        frame = self._alone(head["time"], body)
        if frame is None:
            self._answer({"id": head["id"], "found": False})
            return
        codec = self._codec
        codec.aspect = codec.aspect or self._context.sample_aspect_ratio or None
        if codec.turn == Orientation():
            codec.turn = orientation(frame)
        display = display_size(frame, codec.aspect, codec.turn)
        size = [frame.width, frame.height]
        self._answer(
            {
                "id": head["id"],
                "found": True,
                "display": display,
                "size": size,
                "rotation": codec.turn.rotation,
            }
        )

    def _key(self, head: dict[str, Any], body: bytes) -> None:
        frame = self._alone(head["time"], body)
        if frame is None:
            self._answer({"id": head["id"], "found": False})
        else:
            self._show(head["id"], 0, frame)

    def _alone(self, time: int, body: bytes) -> VideoFrame | None:
        self._context.flush_buffers()
        frames = [*self._decode(self._packet(time, body)), *self._decode(None)]
        return frames[0] if frames else None

    def _run(self, head: dict[str, Any], _body: bytes) -> None:
        """For each wanted time the last frame that is not after it; before the first frame, that one if asked so."""
        wanted: list[int] = head["wanted"]
        place, last = 0, None
        self._context.flush_buffers()
        for frame in self._frames():
            while place < len(wanted) and frame.pts > wanted[place]:
                if last is not None or head["first"]:
                    self._show(head["id"], place, last or frame)
                place += 1
            last = frame
        if last is not None:
            for number in range(place, len(wanted)):
                self._show(head["id"], number, last)
        self._answer({"id": head["id"], "done": True})

    def _frames(self) -> Iterator[VideoFrame]:
        """The pictures of the samples that follow, up to the end that the parent says."""
        while True:
            head, body = self.tasks.get()
            if head["do"] != "sample":
                break
            yield from self._decode(self._packet(head["time"], body))
        yield from self._decode(None)

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        try:
            frames = self._context.decode(packet)
        except MemoryError:
            raise  # the frame is not damaged: without it others would be shown in its place
        except (av.FFmpegError, OverflowError):
            return []
        # Frames before 0 are there for others to be decoded from: an edit list hides them.
        return [
            frame for frame in frames if frame.pts is not None and frame.pts >= 0 and not frame.is_corrupt
        ]

    def _packet(self, time: int, body: bytes) -> Packet:
        packet = Packet(body)
        packet.pts = packet.dts = time
        packet.time_base = self._codec.tick
        return packet

    def _show(self, job: int, number: int, frame: VideoFrame) -> None:
        codec = self._codec
        if self._painter is None:
            self._painter = Painter(tuple(codec.tile["size"]), codec.tile["fill"], codec.aspect, codec.colour)
        head, pixels = self._painter.draw(frame, codec.turn)
        self._answer({"id": job, "found": True, "number": number, "time": frame.pts, **head}, pixels)
