"""Fragmented MP4: what libavformat demuxes is the truth."""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import av
import pytest

from lib.sprites.indexes import Index, NoIndex, fragmented
from tests.unit.sprites.indexes.damage import damaged, exercise
from tests.unit.sprites.indexes.demuxed import Reads, frames, hold_against_libavformat, taken
from tests.videos import make_barcoded, read_barcode

FLAGS = {
    "walk": "empty_moov+frag_keyframe+skip_trailer",
    "mfra": "empty_moov+frag_keyframe",
    "own-base": "empty_moov+frag_keyframe+default_base_moof",
    "sidx-each": "dash+frag_keyframe+skip_trailer",
    "global-sidx": "dash+frag_keyframe+global_sidx",
    "delayed": "delay_moov+frag_keyframe",
    "negative-offsets": "empty_moov+frag_keyframe+negative_cts_offsets",
    "separate": "empty_moov+frag_keyframe+separate_moof+skip_trailer",
    "cmaf": "cmaf+frag_keyframe",
    "first-part-whole": "frag_keyframe",
}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "b-frames": {"b_frames": 3, "options": {"preset": "medium"}},
    "open-gop": {"b_frames": 2, "options": {"x264-params": "open-gop=1", "preset": "medium"}},
    "sound": {"audio": 4.0, "b_frames": 2},
    "late": {"start": 1.5, "audio": 3.0, "b_frames": 2},
    "variable-rate": {"times": [n * n / 400 for n in range(40)], "gop": 7},
    "hevc": {"codec": "libx265"},
    "vp9": {"codec": "libvpx-vp9"},
    "av1": {"codec": "libsvtav1"},
}


def make(path: Path, flags: str, **changes: Any) -> Path:
    options = {"movflags": FLAGS.get(flags, flags), **changes.pop("container_options", {})}
    return make_barcoded(path, **{"seconds": 4, "gop": 12, **changes}, container_options=options)


def opened(path_or_data: Path | bytes) -> tuple[Index, Reads]:
    data = path_or_data if isinstance(path_or_data, bytes) else path_or_data.read_bytes()
    reads = Reads(data)
    return fragmented.open(reads, len(data), reads.head), reads


LATE_THERE = [(flags, shape) for flags in ("negative-offsets", "cmaf") for shape in ("late", "sound")]
"""Where libavformat itself is wrong: the test below holds the true times."""


@pytest.mark.parametrize(
    ("flags", "shape"), [pair for pair in product(FLAGS, SHAPES) if pair not in LATE_THERE]
)
def test_it_agrees_with_libavformat(flags: str, shape: str, tmp_path: Path) -> None:
    hold_against_libavformat(*opened(make(tmp_path / "a.mp4", flags, **SHAPES[shape])))


@pytest.mark.parametrize(("flags", "shape"), LATE_THERE)
def test_offsets_below_zero_do_not_delay_the_pictures(flags: str, shape: str, tmp_path: Path) -> None:
    """libavformat adds the largest of them to every time, so its pictures are late against its sound."""
    index, reads = opened(make(tmp_path / "a.mp4", flags, **SHAPES[shape]))
    for key, time in enumerate(index.times):
        (frame,) = frames(index, [taken(index, key, reads)])
        assert read_barcode(frame.to_image()) == time * index.track.tick * 1000


def test_a_segment_index_takes_one_read(tmp_path: Path) -> None:
    index, reads = opened(make(tmp_path / "a.mp4", "global-sidx", seconds=12, b_frames=2))
    assert len(reads.data) > 2 * len(reads.head)
    assert len(reads.calls) == 1
    assert reads.bytes < 64 * 1024
    # AND a key frame seldom needs more than what is guessed, or one more read
    reads.calls.clear()
    for key in range(len(index.times)):
        taken(index, key, reads)
    assert len(reads.calls) <= 2 * len(index.times)


def test_a_random_access_index_takes_three_reads(tmp_path: Path) -> None:
    _, reads = opened(make(tmp_path / "a.mp4", "mfra", seconds=12, b_frames=2))
    assert len(reads.calls) <= 3
    assert reads.bytes < 64 * 1024


@pytest.mark.parametrize("hidden", [False, True])
def test_without_an_index_lanes_run_side_by_side(hidden: bool, tmp_path: Path) -> None:
    """GIVEN many fragments without an index, in one of which something looks like a fragment but is none."""
    data = many_fragments(make(tmp_path / "a.mp4", "walk", size=(640, 360), gop=25).read_bytes(), 40)
    if hidden:
        moof = data.index(b"moof", len(data) * 2 // 3) - 4
        mdat = data.index(b"mdat", moof) + 4
        length = int.from_bytes(data[moof : moof + 4], "big")
        data = data[: mdat + 9000] + data[moof : moof + length] + data[mdat + 9000 + length :]
    # WHEN it is opened
    index, reads = opened(data)
    # THEN every key frame is found, with far fewer steps than fragments
    with av.open(BytesIO(data)) as container:
        keys = [
            (packet.pts * packet.time_base, packet.pos)
            for packet in container.demux(container.streams.video[0])
            if packet.is_keyframe
        ]
    assert len(keys) == 160
    assert [(time * index.track.tick, index.guess(key)[0]) for key, time in enumerate(index.times)] == keys
    assert len(reads.calls) < len(keys) // 3


def many_fragments(data: bytes, times: int) -> bytes:
    """The fragments of a file again and again, each time later."""
    first = data.index(b"moof") - 4
    period = 4 * 90000
    turns = [data[:first]]
    for turn in range(times):
        part = bytearray(data[first:])
        at = part.find(b"tfdt")
        while at >= 0:
            length = 8 if part[at + 4] else 4
            time = int.from_bytes(part[at + 8 : at + 8 + length], "big") + turn * period
            part[at + 8 : at + 8 + length] = time.to_bytes(length, "big")
            at = part.find(b"tfdt", at + 4)
        turns.append(bytes(part))
    return b"".join(turns)


def test_a_recording_that_was_cut_off_is_left_to_the_demuxer(tmp_path: Path) -> None:
    """It shows what is there, and tells that something is missing."""
    data = make(tmp_path / "a.mp4", "walk", b_frames=2).read_bytes()
    with pytest.raises(NoIndex, match="cut off"):
        opened(data[: len(data) * 2 // 3])


def test_a_whole_movie_is_not_in_fragments(tmp_path: Path) -> None:
    with pytest.raises(NoIndex, match="not in fragments"):
        opened(make_barcoded(tmp_path / "a.mp4", seconds=1))


@pytest.mark.parametrize("flags", ["walk", "global-sidx", "mfra", "first-part-whole"])
def test_damage_gives_no_index_and_no_other_error(
    flags: str, tmp_path: Path, share: Callable[[int, int], int]
) -> None:
    data = make(tmp_path / "a.mp4", flags, size=(64, 36), seconds=2, gop=5).read_bytes()
    chance = random.Random(flags)
    for _ in range(share(3000, 150)):
        exercise(fragmented.open, damaged(data, chance))
    for stop in chance.sample(range(len(data)), min(len(data), share(1000, 60))):
        exercise(fragmented.open, data[:stop])
