"""What libavformat finds in a file, and an index held against it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lib.sprites.indexes import ByteRange, Index, Sample

HEAD = 128 * 1024
DECODERS = {"av1": "libdav1d"}
"""FFmpeg's own decoder of that name needs a graphics card."""


@dataclass(frozen=True)
class Demuxed:
    time: Fraction
    """Seconds on the player's clock."""
    position: int
    data: bytes
    key: bool
    discarded: bool


class Reads:
    """The file of an index under test: counts the fetches, their ranges and bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.calls: list[list[ByteRange]] = []

    def __call__(self, ranges: object) -> list[bytes]:
        self.calls.append(list(ranges))  # type: ignore[call-overload]
        return [self.data[start:stop] for start, stop in self.calls[-1]]

    @property
    def head(self) -> bytes:
        return self.data[:HEAD]

    @property
    def bytes(self) -> int:
        return sum(stop - start for call in self.calls for start, stop in call)


LAST = Fraction(1, 25)
"""Seconds: libavformat does not know how long the last frame in fragments is shown; `make_barcoded` does."""


def shown_stream(container: InputContainer) -> VideoStream:
    found = [
        stream
        for stream in container.streams.video
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
    ]
    return next((each for each in found if each.disposition & Disposition.default), found[0])


def player_zero(container: InputContainer) -> Fraction:
    """Players of MP4 start with the first picture or sound, but not before 0."""
    streams = (shown_stream(container), *container.streams.audio)
    starts = [each.start_time * each.time_base for each in streams if each.start_time is not None]
    return max(min(starts), Fraction(0))


def demux(data: bytes) -> tuple[list[Demuxed], Fraction, bytes]:
    """Every packet of the shown track in decoding order, where the track ends, and its extradata."""
    with av.open(BytesIO(data)) as container:
        stream, zero = shown_stream(container), player_zero(container)
        start, lasts = stream.start_time or 0, stream.duration or 0
        packets, ends = [], []
        for packet in container.demux(stream):
            if not packet.size:
                continue
            time = packet.pts * packet.time_base - zero
            ends.append(time + (packet.duration * packet.time_base or LAST))
            packets.append(Demuxed(time, packet.pos, bytes(packet), packet.is_keyframe, packet.is_discard))
        end = max(ends) if b"moof" in data else (start + lasts) * stream.time_base - zero
        return packets, end, stream.codec_context.extradata or b""


def taken(index: Index, key: int, reads: Reads) -> Sample:
    """A key frame, fetched as often as the index asks for more."""
    start, stop = index.guess(key)
    for _ in range(8):
        (data,) = reads([(start, stop)])
        found = index.take(key, start, data)
        if isinstance(found, Sample):
            return found
        start, stop = found
    raise AssertionError("the index never has enough")


def frames(index: Index, samples: list[Sample]) -> list[VideoFrame]:
    """Decoded by nothing but what the track tells."""
    decoder = av.CodecContext.create(DECODERS.get(index.track.codec, index.track.codec), "r")
    decoder.thread_count = 1
    if index.track.extradata:
        decoder.extradata = index.track.extradata
    packets = [av.Packet(sample.data) for sample in samples]
    return [frame for packet in [*packets, None] for frame in decoder.decode(packet)]


def digest(data: bytes) -> str:
    """Short, for a difference of two frames is nothing to read."""
    return hashlib.sha256(data).hexdigest()


def hold_against_libavformat(index: Index, reads: Reads) -> None:
    """Keys, their bytes, and the runs from some of them on."""
    packets, end, extradata = demux(reads.data)
    track = index.track
    numbers = [number for number, packet in enumerate(packets) if packet.key]
    if packets[-1].discarded:  # what an edit list cuts off at the end is demuxed a little further
        last = max(packet.time for packet in packets if not packet.discarded)
        numbers = [number for number in numbers if packets[number].time <= last]
    assert [time * track.tick for time in index.times] == [packets[number].time for number in numbers]
    assert track.end * track.tick == end
    if track.codec != "mpeg2video":  # libavformat looks into its packets
        assert track.extradata == extradata
    for key, number in enumerate(numbers):
        sample, packet = taken(index, key, reads), packets[number]
        assert (sample.time * track.tick, digest(sample.data), sample.key) == (
            packet.time,
            digest(packet.data),
            True,
        )
        start, stop = index.guess(key)
        assert (start, stop) == (packet.position, packet.position + len(packet.data))
    keys = {0, len(numbers) // 2, len(numbers) - 1}
    for key in keys:
        number = numbers[key]
        for until in (index.times[key], index.times[key] + round(Fraction(7, 5) / track.tick), track.end):
            ours = list(index.run(key, until, reads))
            theirs = packets[number:]
            assert [(each.time * track.tick, digest(each.data), each.key) for each in ours] == [
                (each.time, digest(each.data), each.key) for each in theirs[: len(ours)]
            ]
            assert all(each.time > until * track.tick for each in theirs[len(ours) :])
    shown = decoded(reads.data)
    for key in keys:
        sample = taken(index, key, reads)
        if sample.time * track.tick in shown:
            picture = frames(index, [sample])[0].to_image().tobytes()
            assert digest(picture) == digest(shown[sample.time * track.tick])


def decoded(data: bytes) -> dict[Fraction, bytes]:
    """Every picture that libavcodec gives for the whole file, by its time on the player's clock."""
    with av.open(BytesIO(data)) as container:
        stream, zero = shown_stream(container), player_zero(container)
        stream.thread_type = "FRAME"  # decoding HEVC by slices hangs now and then (FFmpeg 7.1)
        return {
            frame.pts * frame.time_base - zero: frame.to_image().tobytes()
            for frame in container.decode(stream)
        }
