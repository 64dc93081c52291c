"""What libavformat and libavcodec say of a whole file, to hold an index against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from lib.sprites.indexes import ByteRange, Index, Sample, Track

HEAD = 128 * 1024
DECODERS = {"av1": "libdav1d"}
"""FFmpeg's own decoder of that name needs a graphics card."""


class Source:
    """The file of an index under test; counts what is fetched."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.head = data[:HEAD]
        self.calls = 0
        self.ranges = 0
        self.bytes = 0

    def fetch(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        self.calls += 1
        self.ranges += len(ranges)
        self.bytes += sum(stop - start for start, stop in ranges)
        return [self.data[start:stop] for start, stop in ranges]


@dataclass(frozen=True)
class Packet:
    time: Fraction
    """Seconds on the player's clock."""
    data: bytes
    key: bool


@dataclass(frozen=True)
class Truth:
    packets: list[Packet]
    """Of the shown track, in decoding order."""
    end: Fraction
    extradata: bytes
    size: tuple[int, int]
    pixel_aspect: Fraction
    pictures: dict[Fraction, bytes]

    @property
    def keys(self) -> list[int]:
        return [number for number, packet in enumerate(self.packets) if packet.key]


def tell(data: bytes, *, never_before_zero: bool) -> Truth:
    """The player's clock starts with the first picture or sound: in some containers not before 0."""
    with av.open(BytesIO(data)) as container:
        stream = _shown(container)
        starts = [each.start_time * each.time_base for each in (stream, *container.streams.audio)]
        zero = max(min(starts), Fraction(0)) if never_before_zero else min(starts)
        packets, end = [], Fraction(0)
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                time = packet.pts * packet.time_base - zero
                lasts = packet.duration * packet.time_base or 1 / (stream.average_rate or Fraction(1))
                end = max(end, time + lasts)
                packets.append(Packet(time, bytes(packet), packet.is_keyframe))
        extradata = stream.codec_context.extradata or b""
        aspect = stream.sample_aspect_ratio or Fraction(1)
        size = stream.width, stream.height
    with av.open(BytesIO(data)) as container:
        shown = {
            frame.pts * frame.time_base - zero: frame.to_image().tobytes()
            for frame in container.decode(_shown(container))
        }
    return Truth(packets, end, extradata, size, aspect, shown)


def taken(index: Index, key: int, source: Source) -> Sample:
    """A key frame, fetched as often as the index asks for more."""
    start, stop = index.guess(key)
    for _ in range(16):
        (data,) = source.fetch([(start, stop)])
        found = index.take(key, start, data)
        if isinstance(found, Sample):
            return found
        start, stop = found
    raise AssertionError("the index never has enough")


def alone(track: Track, sample: Sample) -> bytes:
    """The picture of a key frame, decoded by nothing but what the track tells."""
    decoder = av.CodecContext.create(DECODERS.get(track.codec, track.codec), "r")
    if track.extradata:
        decoder.extradata = track.extradata
    frames = [*decoder.decode(av.Packet(sample.data)), *decoder.decode(None)]
    return frames[0].to_image().tobytes()


def _shown(container: InputContainer) -> VideoStream:
    found = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    return next((each for each in found if each.disposition & Disposition.default), found[0])
