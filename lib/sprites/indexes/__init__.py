"""Where the frames of a file are, read from its own tables: one module per container, no media data touched.

A reader of tables gets `fetch` and gives an Index. All times are whole ticks on the player's clock: edit lists,
start offsets and wraps are settled here. What a reader does not understand it refuses with NoIndex; the
demuxer of libavformat then takes the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

ByteRange = tuple[int, int]
"""Half-open."""
Fetch = Callable[[Sequence[ByteRange]], list[bytes]]
"""The bytes of each range, in order; shorter only where the file ends. Raises what the reader raises."""


class NoIndex(Exception):
    """The tables are missing, damaged or of a kind that is not read here; the message tells which."""


@dataclass(frozen=True)
class Colour:
    """As ITU-T H.273 numbers them; 2 is unspecified."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    full_range: bool = False


@dataclass(frozen=True)
class Track:
    """The video track that is shown."""

    codec: str
    """FFmpeg's name of the decoder: h264, hevc, vp8, vp9, av1, mpeg2video, mpeg4, mjpeg, prores ..."""
    extradata: bytes
    """What the decoder needs beforehand (avcC, hvcC, av1C, esds' DecoderSpecificInfo ...), as FFmpeg takes it."""
    width: int
    height: int
    """Stored pixels; 0 where only the decoder knows."""
    pixel_aspect: Fraction | None
    rotation: int
    """Degrees clockwise that players turn the picture by: 0, 90, 180, 270."""
    mirrored: bool
    """Left and right swapped before it is turned."""
    tick: Fraction
    """Seconds of one tick."""
    end: int
    """Ticks at which the last frame of the track stops being shown."""
    colour: Colour | None = None
    """What the container says of it, if it does."""


@dataclass(frozen=True)
class Sample:
    """A compressed frame, as the decoder takes it."""

    time: int
    """Presentation time."""
    data: bytes
    key: bool = False
    disposable: bool = False
    """No other frame needs it (B-frames without references): may be skipped on the way to a later one."""


class Index(Protocol):
    track: Track
    times: Sequence[int]
    """Presentation time of every key frame, ascending."""

    def guess(self, key: int) -> ByteRange:
        """The bytes that hold this key frame (by its place in `times`), as well as the tables tell."""
        ...

    def take(self, key: int, start: int, data: bytes) -> Sample | ByteRange:
        """The key frame out of bytes fetched from `start` on; or the range that has to be fetched instead."""
        ...

    def run(self, key: int, until: int, fetch: Fetch) -> Iterator[Sample]:
        """The frames in decoding order from this key frame on, at least to all that are shown at or before `until`.

        Fetches piece by piece, near ranges joined, a few megabytes at a time.
        """
        ...


class Probed(Protocol):
    """A container without tables (MPEG-TS): key frames are looked for around the instants that are wanted."""

    track: Track

    def find(self, instants: Sequence[int], reach: int | None, fetch: Fetch) -> list[Sample | None]:
        """For each instant the nearest key frame within reach; without `reach` the last that is shown at or before
        it. Where key frames come at equal distances the expected one is given, though there may be others.

        All instants are looked for side by side, each round one fetch; some dozens at once keep memory low.
        """
        ...

    def run(self, key: int, until: int, fetch: Fetch) -> Iterator[Sample]:
        """As of Index; `key` is the time of a key frame that was found."""
        ...
