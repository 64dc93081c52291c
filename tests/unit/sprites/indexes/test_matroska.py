"""Matroska and WebM: what libavformat demuxes is the truth."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from lib.sprites.indexes import Colour, NoIndex, matroska
from lib.sprites.indexes.matroska import MatroskaIndex
from lib.sprites.indexes.matroska_tracks import choose
from tests.unit.sprites.indexes.matroska_muxing import ebml, encoding, mux
from tests.unit.sprites.indexes.truth import Source, alone, taken, tell
from tests.videos import make_barcoded

LIVE = {"live": "1"}
FRONT = {"reserve_index_space": "4096"}

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "b-frames": {"b_frames": 3, "options": {"b-pyramid": "normal", "preset": "medium"}},
    "open-gop": {"b_frames": 2, "options": {"x264-params": "open-gop=1", "preset": "medium"}},
    "sound": {"audio": 4.0, "b_frames": 2},
    "late": {"start": 1.5, "b_frames": 2},
    "late-with-sound": {"start": 1.5, "audio": 3.0},
    "longer-sound": {"audio": 6.0},
    "variable-rate": {"times": [n * n / 400 for n in range(40)], "gop": 7},
    "wide-pixels": {"sar": Fraction(4, 3)},
    "tall-pixels": {"sar": Fraction(8, 9)},
    "cues-in-front": {"container_options": FRONT, "audio": 4.0},
    "live": {"container_options": LIVE, "audio": 4.0},
    "small-clusters": {"container_options": {"cluster_time_limit": "200"}, "gop": 50, "audio": 4.0},
    "large-frames": {"options": {"crf": "1"}, "size": (640, 360), "audio": 4.0, "seconds": 2},
    "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=3:open-gop=1"}},
    "av1": {"codec": "libsvtav1"},
    "vp9": {"codec": "libvpx-vp9"},
    "mpeg4": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2video", "b_frames": 2},
    "mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


def opened(path_or_data: Path | bytes) -> tuple[MatroskaIndex, Source]:
    source = Source(path_or_data if isinstance(path_or_data, bytes) else path_or_data.read_bytes())
    return matroska.open(source.fetch, len(source.data), source.head), source


def hold_against_libavformat(index: MatroskaIndex, source: Source) -> None:
    truth, track = tell(source.data, never_before_zero=True), index.track
    assert track.end * track.tick == truth.end
    assert (track.width, track.height) == truth.size
    assert track.pixel_aspect in (None, truth.pixel_aspect)  # None: only the decoder knows
    if track.codec != "mpeg2video":  # libavformat looks into its packets
        assert track.extradata == truth.extradata
    assert [time * track.tick for time in index.times] == [truth.packets[each].time for each in truth.keys]
    for key, number in enumerate(truth.keys):
        sample, packet = taken(index, key, source), truth.packets[number]
        assert (sample.time * track.tick, sample.data, sample.key) == (packet.time, packet.data, True)
        if key in (0, len(truth.keys) - 1):
            assert alone(track, sample) == truth.pictures[packet.time]
    for key in {0, len(truth.keys) // 2, len(truth.keys) - 1}:
        theirs = truth.packets[truth.keys[key] :]
        for until in (index.times[key], index.times[key] + round(Fraction(7, 5) / track.tick), track.end):
            ours = list(index.run(key, until, source.fetch))
            assert [(each.time * track.tick, each.data, each.key) for each in ours] == [
                (each.time, each.data, each.key) for each in theirs[: len(ours)]
            ]
            missed = [each.time for each in theirs[len(ours) :] if each.time <= until * track.tick]
            assert all(time < theirs[0].time for time in missed)


@pytest.mark.parametrize(
    ("kind", "suffix"), [*((kind, "mkv") for kind in KINDS), ("vp9", "webm"), ("av1", "webm")]
)
def test_it_agrees_with_libavformat(kind: str, suffix: str, tmp_path: Path) -> None:
    path = make_barcoded(tmp_path / f"a.{suffix}", **{"seconds": 4, "gop": 12, **KINDS[kind]})
    hold_against_libavformat(*opened(path))


def test_key_frames_cost_little_more_than_themselves(tmp_path: Path) -> None:
    # GIVEN a video much larger than its head
    path = make_barcoded(
        tmp_path / "a.mkv", seconds=16, gop=50, size=(640, 360), audio=16.0, options={"crf": "3"}
    )
    index, source = opened(path)
    # THEN opening takes the cues, and so much of the end that a few frames are in it
    assert source.calls <= 4
    assert source.bytes < 400 * 1024
    # WHEN every key frame is read
    source.calls = source.bytes = 0
    sizes = [len(taken(index, key, source).data) for key in range(len(index.times))]
    # THEN nearly nothing else is, with two requests at most
    assert source.bytes <= 1.05 * sum(sizes)
    assert source.calls <= 2 * len(sizes)


def test_a_run_reads_no_further_than_it_must(tmp_path: Path) -> None:
    path = make_barcoded(
        tmp_path / "a.mkv", seconds=8, gop=25, b_frames=2, size=(640, 360), options={"crf": "3"}
    )
    index, source = opened(path)
    source.bytes = 0
    samples = list(index.run(1, index.times[1] + 500, source.fetch))
    assert samples[0].time == index.times[1]
    assert source.bytes < len(source.data) / 4


def test_frames_that_nobody_needs_are_told(tmp_path: Path) -> None:
    for codec, options in {
        "libx264": {"preset": "medium", "x264-params": "b-pyramid=none"},
        "libx265": {"x265-params": "log-level=none:bframes=3:b-pyramid=0"},
        "mpeg2video": {},
    }.items():
        path = make_barcoded(
            tmp_path / f"{codec}.mkv", seconds=2, gop=25, b_frames=2, codec=codec, options=options
        )
        index, source = opened(path)
        samples = list(index.run(0, index.track.end, source.fetch))
        kept = [each for each in samples if not each.disposable]
        assert len(samples) == 50
        assert len(kept) < 40
        # what is left decodes to the same pictures
        truth = tell(source.data, never_before_zero=True)
        decoder = av.CodecContext.create(index.track.codec, "r")
        decoder.extradata = index.track.extradata
        for sample in [*kept, None]:
            packet = None
            if sample is not None:
                packet = av.Packet(sample.data)
                packet.pts, packet.time_base = sample.time, index.track.tick
            for frame in decoder.decode(packet):
                if frame.pts is not None:
                    assert frame.to_image().tobytes() == truth.pictures[frame.pts * index.track.tick]


def entry(*picture: bytes, encodings: bytes = b"", codec: bytes = b"V_VP8") -> bytes:
    fields = ebml(0xD7, 1) + ebml(0x83, 1) + ebml(0x86, codec) + encodings
    return ebml(0xAE, fields + ebml(0xE0, ebml(0xB0, 720) + ebml(0xBA, 576) + b"".join(picture)))


def test_what_the_track_says_of_its_picture() -> None:
    projection = ebml(0x7670, ebml(0x7671, 0) + ebml(0x7673, 180.0) + ebml(0x7675, 90.0))
    colour = ebml(0x55B0, ebml(0x55B1, 9) + ebml(0x55BA, 16) + ebml(0x55BB, 9) + ebml(0x55B9, 2))
    display = ebml(0x54B0, 1024) + ebml(0x54BA, 576)
    video, _ = choose(entry(projection, colour, display))
    assert (video.rotation, video.mirrored) == (270, True)
    assert video.colour == Colour(9, 16, 9, True)
    assert video.pixel_aspect == Fraction(64, 45)
    assert choose(entry(ebml(0x54B2, 4)))[0].pixel_aspect is None
    assert choose(entry(ebml(0x53B8, 1)))[0].pixel_aspect == 2


def test_stripped_headers_come_back_and_other_encodings_are_refused() -> None:
    assert choose(entry(encodings=encoding(3, b"\0\0\1")))[0].stripped == b"\0\0\1"
    encrypted = ebml(0x6D80, ebml(0x6240, ebml(0x5033, 1)))
    for refused in (encoding(0), encrypted):
        with pytest.raises(NoIndex):
            choose(entry(encodings=refused))
    with pytest.raises(NoIndex):
        choose(entry(codec=b"V_MS/VFW/FOURCC"))


def survives(data: bytes) -> None:
    """NoIndex or something, within bounds; never another exception."""
    source = Source(data)
    try:
        index = matroska.open(source.fetch, len(data), source.head)
        for key in range(min(4, len(index.times))):
            taken(index, key, source)
            for sample in index.run(key, index.times[key] + 400, source.fetch):
                assert len(sample.data) <= len(data) + 64
    except NoIndex:
        pass
    assert source.calls < 2000


def test_damage_ends_in_no_index(tmp_path: Path, share: Callable[[int, int], int]) -> None:
    path = make_barcoded(tmp_path / "a.mkv", seconds=3, gop=12, size=(640, 360), audio=3.0)
    data = path.read_bytes()
    chance = random.Random(3)
    tracemalloc.start()
    for _ in range(share(100, 20)):
        survives(data[: chance.randrange(len(data))])
    for _ in range(share(2000, 200)):
        broken = bytearray(data)
        for _ in range(chance.choice((1, 3, 30))):
            places = (len(data), 1024, 4096)
            at = chance.randrange(chance.choice(places))
            if chance.random() < 0.3:
                at = len(data) - 1 - at % 1024  # among the cues
            broken[at] = chance.choice((0, 1, 0xFF, 0x80, chance.randrange(256)))
        survives(bytes(broken))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "place", [b"\x1aE\xdf\xa3", b"\x18S\x80g", b"\x16T\xaek", b"\x1fC\xb6u", b"\x1cS\xbbk"]
)
@pytest.mark.parametrize(
    "size", [b"\x01\xff\xff\xff\xff\xff\xff\xff", b"\x01\x7f\xff\xff\xff\xff\xff\xff", b"\x80", b"\x00"]
)
def test_sizes_unknown_and_impossible(place: bytes, size: bytes, tmp_path: Path) -> None:
    data = make_barcoded(tmp_path / "a.mkv", seconds=1).read_bytes()
    at = data.index(place) + 4
    survives(data[:at] + size + data[at + len(size) :])


ODD: dict[str, dict[str, Any]] = {
    "several-keys-in-a-cluster": {},
    "keys-anywhere": {"per_cluster": 31},
    "cues-without-places": {"places": False},
    "groups": {"groups": True, "per_cluster": 31},
    "groups-without-places": {"groups": True, "places": False},
    "clusters-of-unknown-size": {"sized": False, "per_cluster": 12},
    "headers-stripped": {"strip": b"\0", "per_cluster": 20},
    "no-cues": {"cues": False, "per_cluster": 12},
}


@pytest.mark.parametrize("kind", ODD)
def test_files_of_other_muxers(kind: str, tmp_path: Path) -> None:
    # GIVEN a file of 700 KB: frames of a GOP are larger than what is read at once
    path = make_barcoded(tmp_path / "a.mkv", seconds=4, gop=12, size=(640, 360), options={"crf": "8"})
    data = mux(tell(path.read_bytes(), never_before_zero=True), b"V_MPEG4/ISO/AVC", **ODD[kind])
    assert len(data) > 400_000
    # THEN it is read as libavformat reads it, or not
    hold_against_libavformat(*opened(data))


def test_what_cannot_be_done_without_cues(tmp_path: Path) -> None:
    path = make_barcoded(tmp_path / "a.mkv", seconds=4, gop=12, size=(640, 360), options={"crf": "8"})
    truth = tell(path.read_bytes(), never_before_zero=True)
    for options in ({"sized": False}, {"per_cluster": 5}, {"groups": True, "per_cluster": 12}):
        with pytest.raises(NoIndex):
            opened(mux(truth, b"V_MPEG4/ISO/AVC", cues=False, **options))


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    data = make_barcoded(tmp_path / "a.mkv", seconds=2).read_bytes()
    with pytest.raises(NoIndex):
        opened(data[:-1])
