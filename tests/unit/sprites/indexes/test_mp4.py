"""MP4 and MOV: what libavformat demuxes is the truth."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lib.sprites.indexes import Index, NoIndex, mp4
from tests.unit.sprites.indexes.damage import damaged, exercise
from tests.unit.sprites.indexes.demuxed import HEAD, Reads, hold_against_libavformat
from tests.videos import hide_beginning, make_barcoded

MEDIA = Path(__file__).parents[3] / "media"
FASTSTART = {"movflags": "faststart"}

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "faststart": {"container_options": FASTSTART},
    "b-frames": {"b_frames": 3, "options": {"b-pyramid": "normal", "preset": "medium"}},
    "open-gop": {
        "b_frames": 2,
        "options": {"x264-params": "open-gop=1", "preset": "medium", "sc_threshold": "0"},
    },
    "sound": {"audio": 4.0, "b_frames": 2},
    "late": {"start": 1.5, "b_frames": 2},
    "late-with-sound": {"start": 1.5, "audio": 3.0},
    "variable-rate": {"times": [n * n / 400 for n in range(40)], "gop": 7},
    "sideways": {"rotation": 90},
    "upside-down": {"rotation": 180},
    "wide-pixels": {"sar": Fraction(4, 3)},
    "negative-offsets": {"b_frames": 2, "container_options": {"movflags": "negative_cts_offsets"}},
    "without-edit-list": {"b_frames": 2, "container_options": {"use_editlist": "0"}},
    "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=3:open-gop=1"}},
    "av1": {"codec": "libsvtav1"},
    "vp9": {"codec": "libvpx-vp9"},
    "mpeg4": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2video", "b_frames": 2},
    "mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


def opened(path_or_data: Path | bytes) -> tuple[Index, Reads]:
    data = path_or_data if isinstance(path_or_data, bytes) else path_or_data.read_bytes()
    reads = Reads(data)
    return mp4.open(reads, len(data), reads.head), reads


@pytest.mark.parametrize(
    ("suffix", "kind"),
    # MOV does not take VP9 and AV1.
    [("mp4", kind) for kind in KINDS] + [("mov", kind) for kind in KINDS if kind not in ("vp9", "av1")],
)
def test_it_agrees_with_libavformat(kind: str, suffix: str, tmp_path: Path) -> None:
    path = make_barcoded(tmp_path / f"a.{suffix}", **{"seconds": 4, "gop": 12, **KINDS[kind]})
    hold_against_libavformat(*opened(path))


@pytest.mark.parametrize("name", sorted(path.name for path in MEDIA.glob("*.mp4")))
def test_it_agrees_about_real_videos(name: str) -> None:
    hold_against_libavformat(*opened(MEDIA / name))


@pytest.mark.parametrize("hidden", [0.48, 1.3, 2.52])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_what_an_edit_list_hides_lies_before_zero(hidden: float, b_frames: int, tmp_path: Path) -> None:
    path = make_barcoded(tmp_path / "a.mp4", seconds=4, gop=12, b_frames=b_frames, hidden=hidden)
    index, reads = opened(hide_beginning(path, hidden))
    hold_against_libavformat(index, reads)
    assert index.times[0] <= 0 < index.times[1]


@pytest.mark.parametrize("faststart", [True, False])
def test_reads(faststart: bool, tmp_path: Path) -> None:
    options = FASTSTART if faststart else {}
    _, reads = opened(make_barcoded(tmp_path / "a.mp4", seconds=12, container_options=options))
    assert len(reads.data) > 2 * HEAD
    assert len(reads.calls) == (0 if faststart else 1)
    assert reads.bytes < 64 * 1024


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation(rotation: int, tmp_path: Path) -> None:
    index, _ = opened(make_barcoded(tmp_path / "a.mp4", seconds=1, rotation=rotation))
    assert (index.track.rotation, index.track.mirrored) == (rotation, False)


def test_wide_pixels(tmp_path: Path) -> None:
    index, _ = opened(make_barcoded(tmp_path / "a.mp4", seconds=1, sar=Fraction(4, 3)))
    assert index.track.pixel_aspect == Fraction(4, 3)
    assert (index.track.width, index.track.height) == (284, 160)


def test_an_encrypted_video_is_not_read(tmp_path: Path) -> None:
    data = make_barcoded(tmp_path / "a.mp4", seconds=1).read_bytes()
    with pytest.raises(NoIndex, match="encv"):
        opened(data.replace(b"avc1\0\0\0\0\0\0", b"encv\0\0\0\0\0\0"))


# -- tables of our own making


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *numbers: int) -> bytes:
    return box(kind, bytes(4), struct.pack(f">{len(numbers)}I", *numbers))


def movie(count: int, gop: int, sizes: bytes, offset: int, chunk: int, ctts: bytes) -> bytes:
    """The header of a video of 25 frames a second, with sound whose tables are as long."""
    matrix = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    mvhd = full(b"mvhd", 0, 0, 1000, 0, 1 << 16, 1 << 24, 0, 0, *matrix, *[0] * 6, 3)

    def trak(number: int, handler: bytes, entry: bytes, tables: list[bytes]) -> bytes:
        tkhd = box(
            b"tkhd", b"\0\0\0\1", struct.pack(">5I16x9I2I", 0, 0, number, 0, 0, *matrix, 640 << 16, 360 << 16)
        )
        mdhd = full(b"mdhd", 0, 0, 12800, count * 512, 0)
        hdlr = box(b"hdlr", bytes(8), handler, bytes(13))
        stbl = box(b"stbl", box(b"stsd", bytes(4), struct.pack(">I", 1), entry), *tables)
        return box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, box(b"minf", stbl)))

    def tables(keys: bool) -> list[bytes]:
        chunks = -(-count // chunk)
        offsets = struct.pack(f">{chunks}Q", *(offset + 1000 * chunk * each for each in range(chunks)))
        return [
            full(b"stts", 1, count, 512),
            full(b"stss", len(range(0, count, gop)), *range(1, count + 1, gop)) if keys else b"",
            ctts if keys else b"",
            full(b"stsc", 1, 1, chunk, 1),
            box(b"stsz", bytes(8), struct.pack(">I", count), sizes),
            box(b"co64", bytes(4), struct.pack(">I", chunks), offsets),
        ]

    avcc = box(b"avcC", bytes.fromhex("0142c01effe1000467"))
    video = box(b"avc1", bytes(24), struct.pack(">HH", 640, 360), bytes(50), avcc)
    sound = box(b"mp4a", bytes(28))
    return box(b"moov", mvhd, trak(1, b"soun", sound, tables(False)), trak(2, b"vide", video, tables(True)))


class Sparse:
    """A file whose head is real and whose rest is zeros that nobody holds."""

    def __init__(self, head: bytes) -> None:
        self.head, self.calls, self.bytes = head, 0, 0

    def __call__(self, ranges: Any) -> list[bytes]:
        self.calls += 1
        self.bytes += sum(stop - start for start, stop in ranges)
        return [self.head[start:stop].ljust(stop - start, b"\0") for start, stop in ranges]


@pytest.mark.parametrize("chunk", [10, 900_000])
def test_ten_hours(chunk: int) -> None:
    """GIVEN ten hours with a key frame every two seconds and B-frames, sound in front of the video."""
    count, gop = 900_000, 50
    pattern = (1, 1024, 1, 2048, 1, 512, 1, 0)
    ctts = box(b"ctts", bytes(4), struct.pack(">I", count), struct.pack(">8I", *pattern) * (count // 4))
    moov = movie(count, gop, struct.pack(">I", 1000) * count, 1 << 28, chunk, ctts)
    fetch = Sparse(moov)
    # WHEN its index is read
    tracemalloc.start()
    try:
        index = mp4.open(fetch, (1 << 28) + 1000 * count, moov[:HEAD])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # THEN memory is bounded, the sound's tables are not read, and times and places are right
    assert peak < 100 << 20
    assert fetch.bytes < len(moov) * (0.8 if chunk == 10 else 0.85)
    assert fetch.calls <= 3
    numbers = range(0, count, gop)
    first = 1024
    offsets = pattern[1::2]
    assert list(index.times) == [each * 512 + offsets[each % 4] for each in numbers]
    assert index.times[0] == first
    assert [index.guess(key)[0] for key in range(len(numbers))] == [
        (1 << 28) + 1000 * each for each in numbers
    ]
    samples = list(index.run(17_000, index.times[17_000] + 5120, fetch))
    assert 11 <= len(samples) <= 15
    assert [sample.time for sample in samples[:3]] == [
        each * 512 + offsets[each % 4] for each in range(850_000, 850_003)
    ]


@pytest.mark.parametrize("kind", [b"stsz", b"stts", b"ctts", b"stsc", b"stss", b"co64"])
@pytest.mark.parametrize("number", [0xFFFFFFFF, 0x7FFFFFFF, 0x10000000])
def test_numbers_without_measure(kind: bytes, number: int) -> None:
    ctts = full(b"ctts", 1, 8, 0)
    moov = bytearray(movie(8, 4, struct.pack(">I", 100) * 8, 4000, 8, ctts))
    at = moov.rindex(kind) + 4
    places = [at + 4, at + 8, at + 12] if kind != b"stsz" else [at + 4, at + 8]
    for place in places:
        broken = bytearray(moov)
        struct.pack_into(">I", broken, place, number)
        tracemalloc.start()
        try:
            exercise(mp4.open, bytes(broken).ljust(8000, b"\0"))
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("kind", ["faststart", "sound"])
def test_damage_gives_no_index_and_no_other_error(
    kind: str, tmp_path: Path, share: Callable[[int, int], int]
) -> None:
    shape = {**KINDS[kind], "size": (64, 36), "seconds": 2, "gop": 5, "b_frames": 2}
    data = make_barcoded(tmp_path / "a.mp4", **{**shape, "audio": 1.0}).read_bytes()
    chance = random.Random(kind)
    for _ in range(share(3000, 150)):
        exercise(mp4.open, damaged(data, chance))
    for stop in chance.sample(range(len(data)), min(len(data), share(1000, 60))):
        exercise(mp4.open, data[:stop])
