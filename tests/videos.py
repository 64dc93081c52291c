"""Videos made for tests: every frame carries its own time as a bar code that a small tile still shows.

The code: 6 x 4 cells, black or white, are 24 bits (milliseconds, most significant first, row by row); a fifth
row is the parity of each column. Between and behind the cells colours move, so that frames differ and encoders
have something to do.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame
from PIL import Image, ImageDraw, ImageStat

COLUMNS, ROWS = 6, 5
BITS = 24
SIZE = (284, 160)
TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""Display matrices, by degrees clockwise."""
NEVER = (1 << BITS) - 1
"""The code of a frame that is never presented."""

QUICK: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "ultrafast", "crf": "20", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:scenecut=0:crf=22"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "25", "b": "0"},
    "libsvtav1": {"preset": "12", "crf": "30", "svtav1-params": "scd=0"},
    "mpeg2video": {"b": "4000000", "sc_threshold": "1000000000"},
    "mpeg4": {"b": "4000000", "sc_threshold": "1000000000"},
    "mjpeg": {"qmin": "2", "qmax": "5"},
}


class Bytes:
    """A reader of bytes in memory that counts, and can fail."""

    def __init__(self, data: bytes, error: Exception | None = None, fails_after: int = 0) -> None:
        self._data = data
        self._error = error
        self._left = fails_after
        self.bytes = 0
        self.requests = 0
        self.calls = 0
        self.largest = 0

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        if self._error is not None and self._left <= 0:
            raise self._error
        self._left -= 1
        self.calls += 1
        found = [self._data[start:stop] for start, stop in ranges]
        self.requests += len(found)
        self.bytes += sum(map(len, found))
        self.largest = max(self.largest, *map(len, found))
        return found


def draw(milliseconds: int, size: tuple[int, int] = SIZE) -> Image.Image:
    image = Image.linear_gradient("L").resize(size)
    phase = milliseconds // 40 * 7 % 256
    image = Image.merge(
        "RGB", (image, image.point(lambda v: (v + phase) % 256), image.point(lambda v: 255 - v))
    )
    pen = ImageDraw.Draw(image)
    width, height = size[0] / COLUMNS, size[1] / ROWS
    for number, bit in enumerate(_bits(milliseconds)):
        row, column = divmod(number, COLUMNS)
        box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
        inset = (box[0] + width * 0.1, box[1] + height * 0.1, box[2] - width * 0.1, box[3] - height * 0.1)
        pen.rectangle(inset, fill="white" if bit else "black")
    return image


def read_barcode(image: Image.Image) -> int | None:
    """The milliseconds that a picture shows; None if it shows no code, or a damaged one."""
    gray = image.convert("L")
    width, height = gray.width / COLUMNS, gray.height / ROWS
    bits = []
    for number in range(COLUMNS * ROWS):
        row, column = divmod(number, COLUMNS)
        left, top = column * width, row * height
        middle = (left + width * 0.35, top + height * 0.35, left + width * 0.65, top + height * 0.65)
        bits.append(ImageStat.Stat(gray.crop(tuple(map(round, middle)))).mean[0] > 128)
    value = sum(bit << (BITS - 1 - number) for number, bit in enumerate(bits[:BITS]))
    return value if _bits(value) == bits else None


def _bits(value: int) -> list[bool]:
    bits = [bool(value >> (BITS - 1 - number) & 1) for number in range(BITS)]
    return bits + [sum(bits[column::COLUMNS]) % 2 == 0 for column in range(COLUMNS)]


def make_barcoded(
    path: Path,
    *,
    seconds: float = 10.0,
    fps: int = 25,
    gop: int = 25,
    b_frames: int = 0,
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    container: str | None = None,
    times: Sequence[float] | None = None,
    start: float = 0.0,
    hidden: float = 0.0,
    rotation: int = 0,
    sar: Fraction | None = None,
    audio: float | None = None,
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """A video of this many seconds, or with frames at these `times` (seconds, variable rate).

    `start`: presentation time of the first frame in the file (also of the sound); the code does not count it.
    `hidden`: seconds at its beginning that the edit list (see `hide_beginning`) will skip; the code counts from
    there. `rotation`: degrees clockwise that players turn it by; the code is upright then. `audio`: seconds of
    sound. `container`: FFmpeg's name of the muxer, if the path does not tell.
    """
    if times is None:
        times = [number / fps for number in range(round(seconds * fps))]
    tick = Fraction(1, 90000)
    with av.open(str(path), "w", format=container, options=dict(container_options or {})) as output:
        video: Any = output.add_stream(codec, rate=fps, options={**QUICK.get(codec, {}), **(options or {})})
        stored = size[::-1] if rotation in (90, 270) else size
        video.width, video.height = stored
        video.pix_fmt = pix_fmt
        video.codec_context.gop_size = gop
        video.codec_context.max_b_frames = b_frames
        fixed_rate = codec in ("mpeg2video", "mpeg4")
        video.codec_context.time_base = Fraction(1, fps) if fixed_rate else tick
        if sar:
            video.codec_context.sample_aspect_ratio = sar
        sound: Any = (
            output.add_stream("mp2" if path.suffix == ".mpg" else "aac", rate=48000) if audio else None
        )
        if sound is not None and path.suffix == ".webm":
            raise ValueError("no sound in WebM here")
        sounds = iter(_tones(audio or 0, start))
        for time in times:
            code = round((time - hidden) * 1000)
            image = draw(code if code >= 0 else NEVER, size)
            if rotation:
                image = image.rotate(rotation, expand=True)
            frame = VideoFrame.from_image(image)
            frame.time_base = video.codec_context.time_base
            frame.pts = round((Fraction(str(time)) + Fraction(str(start))) / frame.time_base)
            for packet in video.encode(frame):
                output.mux(packet)
            while sound is not None and (tone := next(sounds, None)) is not None:
                for packet in sound.encode(tone):
                    output.mux(packet)
                if tone.pts > (time + start) * 48000:
                    break
        for packet in video.encode(None):
            output.mux(packet)
        if sound is not None:
            for tone in sounds:
                for packet in sound.encode(tone):
                    output.mux(packet)
            for packet in sound.encode(None):
                output.mux(packet)
    if rotation:
        set_matrix(path, *TURNS[rotation])
    return path


def make_sound(path: Path, seconds: float = 2.0, codec: str = "aac") -> Path:
    with av.open(str(path), "w") as output:
        sound: Any = output.add_stream(codec, rate=48000)
        for tone in [*_tones(seconds, 0.0), None]:
            for packet in sound.encode(tone):
                output.mux(packet)
    return path


def _tones(seconds: float, start: float) -> list[Any]:
    frames = []
    for number in range(math.ceil(seconds * 48000 / 1024)):
        frame: Any = av.AudioFrame(format="s16", layout="mono", samples=1024)
        wave = b"".join(struct.pack("<h", round(3000 * math.sin(n / 20))) for n in range(1024))
        frame.planes[0].update(wave.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = 48000
        frame.time_base = Fraction(1, 48000)
        frame.pts = round(start * 48000) + number * 1024
        frames.append(frame)
    return frames


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Writes the display matrix into the track header of an MP4 (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def hide_beginning(path: Path, seconds: float) -> Path:
    """Makes the edit list of an MP4 start so many seconds later (ISO/IEC 14496-12, 8.6.6)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"mdhd") + 4
    scale = struct.unpack_from(">I", data, at + 12)[0]
    movie_scale = struct.unpack_from(">I", data, data.index(b"mvhd") + 4 + 12)[0]
    at = data.index(b"elst") + 4
    count, lasts, first = struct.unpack_from(">IIi", data, at + 4)
    if data[at] or count != 1:
        raise ValueError("the edit list is not a single edit")
    struct.pack_into(
        ">Ii", data, at + 8, lasts - round(seconds * movie_scale), first + round(seconds * scale)
    )
    path.write_bytes(data)
    return path
