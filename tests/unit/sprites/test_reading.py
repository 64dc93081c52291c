from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import ObjectChanged, StorageUnavailable
from lib.sprites.reading import BLOCK, CACHED_BLOCKS, LARGEST_READ, SourceFile
from tests.videos import Bytes

DATA = random.Random(7).randbytes(5 * BLOCK + 1234)
moves = st.lists(
    st.tuples(st.sampled_from([0, 1, 2]), st.integers(-3 * BLOCK, 6 * BLOCK), st.integers(0, 3 * BLOCK)),
    max_size=30,
)


@settings(deadline=None)
@given(moves)
def test_it_reads_what_a_file_reads(steps: list[tuple[int, int, int]]) -> None:
    file, model = SourceFile(Bytes(DATA)), io.BytesIO(DATA)
    for whence, offset, size in steps:
        target = max(0, offset + {0: 0, 1: model.tell(), 2: len(DATA)}[whence])
        model.seek(target)
        assert file.seek(offset, whence) == target == file.tell()
        piece = file.read(size)
        assert len(piece) <= size
        assert bool(piece) == (bool(size) and target < len(DATA))
        assert piece == model.read(len(piece))
    file.check()


def test_a_look_somewhere_costs_one_block() -> None:
    reader = Bytes(DATA)
    file = SourceFile(reader)
    for place in (0, 4 * BLOCK + 5, 2 * BLOCK + 9, 4 * BLOCK + 900, 17):
        file.seek(place)
        assert file.read(16) == DATA[place : place + 16]
    assert (reader.requests, reader.bytes) == (3, 3 * BLOCK)
    assert (file.requests, file.bytes) == (3, 3 * BLOCK)


def test_reading_on_asks_for_more_and_more() -> None:
    reader = Bytes(bytes(64 * BLOCK))
    file = SourceFile(reader)
    while file.read(32768):
        pass
    assert file.tell() == 64 * BLOCK == reader.bytes
    assert reader.requests <= 8
    assert reader.largest == LARGEST_READ


def test_two_runs_side_by_side_are_both_joined() -> None:
    """Sound and picture of an MP4 may lie far apart."""
    reader = Bytes(bytes(256 * BLOCK))
    file = SourceFile(reader)
    for number in range(2 * 64):
        file.seek(number * BLOCK // 2)
        file.read(32768)
        file.seek(128 * BLOCK + number * BLOCK // 2)
        file.read(32768)
    assert reader.requests <= 2 * 8


def test_memory_is_bounded() -> None:
    file = SourceFile(Bytes(bytes(3 * CACHED_BLOCKS * BLOCK)))
    while file.read(BLOCK):
        pass
    assert len(file._blocks) <= CACHED_BLOCKS


def test_peeking_leaves_the_position() -> None:
    file = SourceFile(Bytes(DATA))
    file.seek(77)
    assert file.peek(BLOCK - 8, 16) == DATA[BLOCK - 8 : BLOCK + 8]
    assert file.peek(len(DATA) - 4, 16) == DATA[-4:]
    assert file.tell() == 77


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailable(bucket="b", action="read", key="k", reason="no answer"),
        ObjectChanged(bucket="b", key="k", etag="e"),
        KeyboardInterrupt(),
    ],
)
def test_an_error_of_the_reader_waits_for_check(error: BaseException) -> None:
    """FFmpeg's callbacks cannot raise: what they meet is told afterwards, as it was."""
    file = SourceFile(Bytes(DATA, error, fails_after=1))  # type: ignore[arg-type]
    assert file.read(10) == DATA[:10]
    file.seek(3 * BLOCK)
    assert file.read(10) == b""
    file.seek(0)
    assert file.read(10) == b"", "nothing is read after an error"
    with pytest.raises(type(error)) as raised:
        file.check()
    assert raised.value is error


def test_a_reader_that_gives_too_little_is_found_out() -> None:
    class Short(Bytes):
        def read(self, ranges):  # type: ignore[no-untyped-def]
            return [piece[:-1] for piece in super().read(ranges)]

    file = SourceFile(Short(DATA))
    assert file.read(10) == b""
    with pytest.raises(OSError, match="65535 bytes of 65536"):
        file.check()
