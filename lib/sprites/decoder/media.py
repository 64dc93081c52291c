"""The opened source: its video stream, its clock, where the pictures end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lib.errors import Corrupt, NoVideo, TooLarge, TooShort, Unsupported
from lib.sprites import containers
from lib.sprites.reading import SourceFile

SHORTEST = Fraction(1, 100)
"""Seconds."""
SLACK = Fraction(1)
"""Seconds that a file may end before it says it does and still count as whole."""
LEAD = Fraction(10)
"""Seconds between decoding and showing a frame, at the very most."""
DECODERS = 2
"""Threads: each holds frames of its own, and a large frame is 100 MB of them."""
MAX_ERRORS = 64
"""Times that the demuxer is asked again after it stumbled."""
PROBE_PACKETS = 2000
"""Packets that are tried for the first picture."""


class Media:
    """Raises NoVideo, TooShort, Corrupt, Unsupported, TooLarge, and whatever the reader raises.

    Positions are in ticks, the units of the stream's timestamps; `ticks` and `clock` translate from and to
    the seconds of the player's clock.
    """

    def __init__(self, file: SourceFile, max_pixels: int) -> None:
        self.file = file
        self._max_pixels = max_pixels
        self.kind = containers.recognise(file)
        self._container = self._open()
        self.stream = self._choose_stream()
        self.tick = self.stream.time_base or Fraction(1, 1000)
        self._base = self._player_zero()
        self._claimed = self._claimed_end()
        self._read_ends()
        self._refuse_giants(self.stream.width, self.stream.height)
        self._first: VideoFrame | None = None

    def close(self) -> None:
        self._container.close()

    # -- clock

    def clock(self, ticks: int) -> Fraction:
        """Seconds on the player's clock of a timestamp."""
        return ticks * self.tick - self._base

    def ticks(self, seconds: Fraction) -> int:
        """The last timestamp that is not after this second of the player's clock."""
        return math.floor((seconds + self._base) / self.tick)

    def span(self, seconds: Fraction) -> int:
        return math.ceil(seconds / self.tick)

    # -- packets

    def seek(self, ticks: int, *, backward: bool = True) -> bool:
        """Whether the demuxer went there (or somewhere near, where it has no index)."""
        try:
            self._container.seek(ticks, stream=self.stream, backward=backward)
        except (av.FFmpegError, OverflowError):
            self.file.check()
            return False
        self.file.check()
        return True

    def rewind(self) -> None:
        """To the first packet of all: well before it, for demuxers that seek by decoding time."""
        if not self.seek((self.stream.start_time or 0) - self.span(LEAD)):
            self._container.close()
            self._container = self._open()
            self.stream = self._choose_stream()

    def packets(self, *others: Stream) -> Iterator[Packet]:
        """Whole packets of the video stream (and of others) from here on, past what cannot be read."""
        for _ in range(MAX_ERRORS):
            try:
                for packet in self._container.demux(self.stream, *others):
                    self.file.check()
                    if packet.size and not packet.is_corrupt:
                        yield packet
            except (av.FFmpegError, OverflowError):
                self.file.check()
                continue
            self.file.check()
            return

    # -- pictures

    def decode(self, packet: Packet | None) -> list[VideoFrame]:
        """The undamaged pictures that this packet (None: the end) brings."""
        try:
            frames = self.stream.codec_context.decode(packet)
        except MemoryError:
            raise  # the frame is not damaged: without it others would be shown in its place
        except (av.FFmpegError, OverflowError):
            return []
        for frame in frames:
            if frame.pts is None and frame.dts is not None:
                frame.pts = frame.dts
        return [frame for frame in frames if frame.pts is not None and not frame.is_corrupt]

    def flush(self) -> None:
        self.stream.codec_context.flush_buffers()

    def first_frame(self) -> VideoFrame:
        """The first picture that there is. Raises TooShort, Corrupt when there is none."""
        if self._first is None:
            self.rewind()
            self.flush()
            self._first = next(self._first_frames(), None)
            self.flush()
        if self._first is None:
            if self.end < SHORTEST:
                raise TooShort(
                    reason="The video has no pictures: it lasts less than a hundredth of a second."
                )
            raise Corrupt(reason="No picture of the video can be decoded: the file is damaged or encrypted.")
        self._refuse_giants(self._first.width, self._first.height)
        return self._first

    def _first_frames(self) -> Iterator[VideoFrame]:
        for count, packet in enumerate(self.packets()):
            if count == PROBE_PACKETS:
                return
            yield from self.decode(packet)
        yield from self.decode(None)

    # -- opening

    def _open(self) -> InputContainer:
        # Never `options`: PyAV 14.2 overruns an array with them when streams turn up late, as in MPEG-PS.
        options = {"format_whitelist": ",".join(containers.DEMUXERS)}
        self.file.seek(0)
        try:
            container = av.open(
                self.file,
                "r",
                format=self.kind.demuxer,
                container_options=options,
                io_open=_refuse,
                metadata_errors="replace",
            )
        except av.FFmpegError as error:
            self.file.check()
            problem = "cannot be opened: it is damaged or cut off"
            raise Corrupt(
                reason=f"The file looks like {self.kind.name} but {problem} ({error.strerror})."
            ) from None
        self.file.check()
        return container

    def _choose_stream(self) -> VideoStream:
        found = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
        ]
        if not self._container.streams.video and not self._container.streams.audio:
            raise Corrupt(reason=f"The file looks like {self.kind.name} but there is nothing in it to play.")
        if not found:
            raise NoVideo(reason="The file has no video track.")
        stream = next((each for each in found if each.disposition & Disposition.default), found[0])
        if stream.codec_context is None and containers.ends_early(self.file, self.kind):
            raise Corrupt(reason="The file is cut off before it tells how to decode it.")
        if stream.codec_context is None:
            raise Unsupported(reason="The video track is in a format that cannot be decoded here.")
        stream.codec_context.options = {"max_pixels": str(self._max_pixels)}
        # Never "SLICE": FFmpeg 7.1 decoding HEVC that way hangs about once in a hundred files.
        stream.codec_context.thread_type = "FRAME"
        stream.codec_context.thread_count = DECODERS
        return stream

    def _played(self) -> list[Stream]:
        """The sound that is played with the pictures."""
        return [stream for stream in self._container.streams.audio if stream.codec_context is not None]

    def _player_zero(self) -> Fraction:
        """Players start at the first thing there is, picture or sound; in files that keep their own clock
        from 0 (MP4, Matroska) what lies before 0 is not presented."""
        starts = [
            stream.start_time * stream.time_base
            for stream in (self.stream, *self._played())
            if stream.start_time is not None and stream.time_base
        ]
        first = min(starts, default=Fraction(0))
        return max(first, Fraction(0)) if self.kind.demuxer in ("mov", "matroska") else first

    def _claimed_end(self) -> Fraction | None:
        """Seconds on the player's clock at which the file says it ends: the video stream, if it says so."""
        stream = self.stream
        if self.kind.demuxer == "mov" and stream.duration and self.kind != containers.FRAGMENTED:
            return ((stream.start_time or 0) + stream.duration) * self.tick - self._base
        if self._container.duration is None or self._container.duration <= 0:
            return None
        start = Fraction(self._container.start_time or 0, av.time_base)
        return start + Fraction(self._container.duration, av.time_base) - self._base

    def _read_ends(self) -> None:
        """Sets `end`, where the video stream ends, `data_end`, where what is there ends, and `truncated`."""
        cut = containers.ends_early(self.file, self.kind)
        if self.kind.indexed and self.kind.demuxer == "mov" and self._claimed and not cut:
            self.end = self.data_end = max(self._claimed, Fraction(0))
            self.truncated = False
            return
        self.data_end, everything = self._tail()
        missing = self._claimed is not None and self._claimed - everything > SLACK
        self.truncated = cut or missing
        claimed = self._claimed or Fraction(0)
        self.end = max(self.data_end, claimed) if self.truncated else self.data_end

    def _tail(self) -> tuple[Fraction, Fraction]:
        """Where the last picture ends and where the last of all does, by reading ever more of the end."""
        back = Fraction(2)
        while True:
            whole = self._claimed is None or back > self._claimed
            if whole:
                self.rewind()
            elif not self.seek(self.ticks((self._claimed or Fraction(0)) - back)):
                back *= 4
                continue
            pictures = everything = Fraction(-1)
            for packet in self.packets(*self._played()):
                time = packet.pts if packet.pts is not None else packet.dts
                if time is None:
                    continue
                end = (time + (packet.duration or 0)) * packet.time_base - self._base
                everything = max(everything, end)
                if packet.stream_index == self.stream.index:
                    lasts = packet.duration * packet.time_base if packet.duration else self._frame_lasts()
                    pictures = max(pictures, end, time * packet.time_base - self._base + lasts)
            if pictures >= 0 or whole:
                return max(pictures, Fraction(0)), max(everything, Fraction(0))
            back *= 4

    def _frame_lasts(self) -> Fraction:
        rate = self.stream.average_rate
        return 1 / rate if rate else Fraction(0)

    def _refuse_giants(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            reason = f"The video is {width}x{height}: more than {self._max_pixels} pixels are not decoded."
            raise TooLarge(reason=reason)


def _refuse(url: str, flags: int, options: object) -> object:
    raise PermissionError("a video may not open other files")
