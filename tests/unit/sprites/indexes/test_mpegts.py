"""MPEG-TS: what libavformat demuxes is the truth."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lib.sprites.indexes import NoIndex, mpegts
from lib.sprites.indexes.mpegts import TransportStream
from tests.unit.sprites.indexes.truth import Packet, Source, alone, tell
from tests.videos import make_barcoded

MEDIA = Path(__file__).parents[3] / "media"
CHUNK = 32 * 1024
WRAP = Fraction(1 << 33, 90_000)

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "b-frames": {"b_frames": 3, "options": {"b-pyramid": "normal", "preset": "medium"}},
    "open-gop": {"b_frames": 2, "options": {"x264-params": "open-gop=1", "preset": "medium"}},
    "sound": {"audio": 4.0, "b_frames": 2},
    "late": {"start": 1.5, "b_frames": 2},
    "hours-later": {"start": 36_000.0, "audio": 3.0},
    "wraps-soon": {"start": float(WRAP) - 2.5, "audio": 3.0, "b_frames": 2},
    "variable-rate": {"times": [n * n / 400 for n in range(40)], "gop": 7},
    "blu-ray": {"container_options": {"mpegts_m2ts_mode": "1"}, "audio": 4.0},
    "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=3:open-gop=1"}},
    "mpeg4": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2video", "b_frames": 2},
    "one-key": {"gop": 500},
    "interlaced": {"options": {"x264-params": "tff=1:bframes=2", "preset": "medium"}, "b_frames": 2},
    "interlaced-mpeg2": {"codec": "mpeg2video", "b_frames": 2, "options": {"flags": "+ilme+ildct"}},
    "large": {"size": (640, 360), "options": {"crf": "4"}, "audio": 4.0, "gop": 30},
}


def opened(path_or_data: Path | bytes) -> tuple[TransportStream, Source]:
    source = Source(path_or_data if isinstance(path_or_data, bytes) else path_or_data.read_bytes())
    return mpegts.open(source.fetch, len(source.data), source.head), source


def hold_against_libavformat(stream: TransportStream, source: Source) -> None:
    truth, tick = tell(source.data, never_before_zero=False), stream.track.tick
    keys = [truth.packets[number] for number in truth.keys]
    last = max(packet.time for packet in truth.packets)
    assert (
        last < stream.track.end * tick <= truth.end + Fraction(1, 1000)
    )  # which is guessed at variable rates
    assert stream.track.width // 16 == -(-truth.size[0] // 16) or stream.track.width in (0, truth.size[0])
    step = max(1, stream.track.end // 23)
    instants = range(0, stream.track.end + step, step)
    # the nearest
    for instant, sample in zip(
        instants, stream.find(instants, stream.track.end * 2, source.fetch), strict=True
    ):
        assert sample is not None
        nearest = min(keys, key=lambda key: abs(key.time - instant * tick))
        distance = abs(nearest.time - instant * tick)
        assert abs(abs(sample.time * tick - instant * tick) - distance) < Fraction(1, 500)
        same = next(key for key in keys if key.time == sample.time * tick)
        assert sample.key
        assert sample.data.endswith(same.data)
        assert alone(stream.track, sample) == truth.pictures[same.time]
    # the one before
    for instant, sample in zip(instants, stream.find(instants, None, source.fetch), strict=True):
        last = max((key.time for key in keys if key.time <= instant * tick), default=None)
        assert (sample and sample.time * tick) == last
        if sample is not None and instant % 3 == 0:
            hold_run(stream, source, truth.packets, sample.time, instant)


def hold_run(stream: TransportStream, source: Source, packets: list[Packet], key: int, until: int) -> None:
    tick = stream.track.tick
    first = next(number for number, packet in enumerate(packets) if packet.time == key * tick)
    ours, theirs = list(stream.run(key, until, source.fetch)), packets[first:]
    assert [(each.time * tick, each.key) for each in ours] == [
        (each.time, each.key) for each in theirs[: len(ours)]
    ]
    assert all(mine.data.endswith(each.data) for mine, each in zip(ours, theirs, strict=False))
    missed = [each.time for each in theirs[len(ours) :] if each.time <= until * tick]
    assert all(time < theirs[0].time for time in missed)


@pytest.mark.parametrize("kind", KINDS)
def test_it_agrees_with_libavformat(kind: str, tmp_path: Path) -> None:
    path = make_barcoded(tmp_path / "a.ts", **{"seconds": 4, "gop": 12, **KINDS[kind]})
    hold_against_libavformat(*opened(path))


def test_packets_with_parity(tmp_path: Path) -> None:
    data = make_barcoded(tmp_path / "a.ts", seconds=4, gop=12, audio=4.0).read_bytes()
    padded = b"".join(data[at : at + 188] + bytes(16) for at in range(0, len(data), 188))
    hold_against_libavformat(*opened(padded))


def test_it_agrees_about_a_real_video() -> None:
    hold_against_libavformat(*opened(MEDIA / "sintel-captions.ts"))


def test_key_frames_are_found_with_few_reads(tmp_path: Path) -> None:
    # GIVEN a large video with a key frame every two seconds
    path = make_barcoded(
        tmp_path / "a.ts", seconds=40, gop=50, size=(640, 360), audio=40.0, options={"crf": "1"}
    )
    stream, source = opened(path)
    assert source.calls <= 4
    # WHEN six of its twenty key frames are wanted
    step = stream.track.end // 6
    samples = stream.find(range(0, stream.track.end, step), step // 2, source.fetch)
    # THEN little more is read than they and the way to them, all of them side by side
    found = {sample.time: len(sample.data) for sample in samples if sample is not None}
    assert len(found) >= 6
    learning = 2 << 20
    assert source.bytes <= learning + sum(found.values()) + len(found) * 7 * CHUNK
    assert source.calls <= 30


def test_key_frames_a_minute_apart(tmp_path: Path) -> None:
    path = make_barcoded(tmp_path / "a.ts", seconds=70, fps=5, gop=300, start=20.0)
    stream, source = opened(path)
    minute = 60 * 90_000
    nearest = stream.find([0, 20 * 90_000, 50 * 90_000, 69 * 90_000], stream.track.end, source.fetch)
    assert [sample and sample.time for sample in nearest] == [0, 0, minute, minute]
    assert stream.find([30 * 90_000], 10 * 90_000, source.fetch) == [None]
    before = stream.find([0, 59 * 90_000, 61 * 90_000], None, source.fetch)
    assert [sample and sample.time for sample in before] == [0, 0, minute]


def test_a_key_frame_without_parameter_sets_gets_the_first_ones(tmp_path: Path) -> None:
    data = make_barcoded(tmp_path / "a.ts", seconds=2, gop=25).read_bytes()
    # GIVEN a stream whose second key frame lacks them: units of a type that decoders pass over instead
    at = data.index(b"\0\0\1\x67", data.index(b"\0\0\1\x67") + 4)
    data = data[: at + 3] + b"\x0c" + data[at + 4 :]
    at = data.index(b"\0\0\1\x68", at)
    data = data[: at + 3] + b"\x0c" + data[at + 4 :]
    stream, source = opened(data)
    first, second = stream.find([0, 90_000], 100, source.fetch)
    assert first is not None
    assert second is not None
    assert second.data[3:4] == b"\x67"
    assert alone(stream.track, second)


def test_frames_that_nobody_needs_are_told(tmp_path: Path) -> None:
    for codec, options in {
        "libx264": {"preset": "medium", "x264-params": "b-pyramid=none"},
        "libx265": {"x265-params": "log-level=none:bframes=3:b-pyramid=0"},
        "mpeg2video": {},
    }.items():
        path = make_barcoded(
            tmp_path / f"{codec}.ts", seconds=2, gop=25, b_frames=2, codec=codec, options=options
        )
        stream, source = opened(path)
        (key,) = stream.find([0], 90_000, source.fetch)
        assert key is not None
        samples = list(stream.run(key.time, stream.track.end, source.fetch))
        assert len(samples) == 50
        assert 10 <= sum(sample.disposable for sample in samples) <= 40
        assert not any(sample.disposable and sample.key for sample in samples)


def survives(data: bytes) -> None:
    """NoIndex or something, within bounds; never another exception."""
    source = Source(data)
    try:
        stream = mpegts.open(source.fetch, len(data), source.head)
        for reach in (45_000, None):
            for sample in stream.find([0, stream.track.end // 2, stream.track.end], reach, source.fetch):
                if sample is not None:
                    for each in stream.run(sample.time, sample.time + 30_000, source.fetch):
                        assert len(each.data) <= len(data) + 4096
    except NoIndex:
        pass
    assert source.calls < 2000


def test_damage_ends_in_no_index(tmp_path: Path, share: Callable[[int, int], int]) -> None:
    path = make_barcoded(tmp_path / "a.ts", seconds=3, gop=12, size=(640, 360), audio=3.0, b_frames=2)
    data = path.read_bytes()
    chance = random.Random(5)
    tracemalloc.start()
    for _ in range(share(100, 15)):
        survives(data[: chance.randrange(len(data))])
    for _ in range(share(2000, 150)):
        broken = bytearray(data)
        for _ in range(chance.choice((1, 3, 30))):
            at = chance.randrange(chance.choice((len(data), 188 * 8)))
            if chance.random() < 0.5:
                at = at - at % 188 + chance.randrange(24)  # the headers
            broken[min(at, len(data) - 1)] = chance.choice((0, 1, 0xFF, 0x80, chance.randrange(256)))
        survives(bytes(broken))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_random_bytes_between_sync_bytes(share: Callable[[int, int], int]) -> None:
    chance = random.Random(7)
    for _ in range(share(200, 20)):
        packets = [b"\x47" + chance.randbytes(187) for _ in range(chance.choice((3, 100, 1500)))]
        survives(b"".join(packets))
    survives(b"\x47" * 188 * 1000)


def with_field(data: bytes, pid: int, offset: int, bits: int) -> bytes:
    """Sets bits in the header of every packet of a stream."""
    changed = bytearray(data)
    for at in range(0, len(data), 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] == pid:
            changed[at + offset] |= bits
    return bytes(changed)


def test_what_is_refused(tmp_path: Path) -> None:
    data = make_barcoded(tmp_path / "a.ts", seconds=1).read_bytes()
    scrambled = with_field(data, 0x100, 3, 0x80)
    reset = data + make_barcoded(tmp_path / "b.ts", seconds=1, start=5.0).read_bytes() + data
    for refused in (scrambled, reset, data[: 188 * 2], b"", b"\x47" * 100):
        source = Source(refused)
        with pytest.raises(NoIndex):
            stream = mpegts.open(source.fetch, len(refused), source.head)
            stream.find(range(0, stream.track.end, 9000), None, source.fetch)
