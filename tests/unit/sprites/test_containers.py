from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import Corrupt, Unsupported
from lib.sprites import containers
from lib.sprites.reading import SourceFile
from tests.videos import Bytes


def file(data: bytes) -> SourceFile:
    return SourceFile(Bytes(data))


def box(name: bytes, body: bytes = b"", size: int | None = None) -> bytes:
    return struct.pack(">I", len(body) + 8 if size is None else size) + name + body


def packets(length: int, start: int) -> bytes:
    """Transport stream packets of which only the sync bytes matter."""
    return (bytes(start) + b"\x47" + b"\x11" * (length - start - 1)) * 6


FTYP = box(b"ftyp", b"isom\0\0\0\0")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (FTYP, "mp4"),
        (box(b"ftyp", b"qt  \0\0\0\0"), "mov"),
        (box(b"moov", bytes(100)), "mov"),
        (FTYP + box(b"moov", b"xxxxmvexxxxx"), "mp4"),
        (b"\x1aE\xdf\xa3\x93B\x82\x88matroska", "matroska"),
        (b"\x1aE\xdf\xa3\x9fB\x82\x84webm", "webm"),
        (b"\0\0\1\xba" + bytes(100), "mpegps"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"FLV\1\5", "flv"),
        (b"OggS\0\2", "ogg"),
        (b"GIF89a", "gif"),
        (b"ID3\3", "mp3"),
        (packets(188, 0), "mpegts"),
        (packets(192, 4), "mpegts"),
        (packets(188, 0)[37:], "mpegts"),
    ],
)
def test_kinds(head: bytes, name: str) -> None:
    assert containers.recognise(file(head)).name == name


def test_only_an_index_that_is_whole_is_trusted() -> None:
    assert containers.recognise(file(FTYP)).indexed
    assert not containers.recognise(file(FTYP + box(b"moov", b"xxxxmvexxxxx"))).indexed


@given(st.binary(max_size=600))
def test_any_bytes_are_a_known_kind_or_an_error(data: bytes) -> None:
    try:
        kind = containers.recognise(file(data))
    except (Corrupt, Unsupported):
        return
    assert kind.demuxer in containers.DEMUXERS


@pytest.mark.parametrize(
    "name", ["hls", "concat", "dash", "image2", "sdp", "svg_pipe", "ffmetadata", "lavfi", "rtp"]
)
def test_nothing_that_names_other_files_is_on_the_list(name: str) -> None:
    assert name not in containers.DEMUXERS


@pytest.mark.parametrize(
    ("data", "early"),
    [
        (FTYP + box(b"moov", bytes(40)) + box(b"mdat", bytes(900)), False),
        (FTYP + box(b"moov", bytes(40)) + box(b"mdat", bytes(900))[:-1], True),
        (FTYP + box(b"mdat", size=1) + struct.pack(">Q", 5_000_000_000) + bytes(99), True),
        (FTYP + box(b"mdat", bytes(50), size=0), False),
        (FTYP + box(b"moov", bytes(40)) + bytes(7), False),
        (FTYP + box(b"moov", b"\0\0\0\0mvex") + box(b"mdat", bytes(9), size=50), True),
        (b"RIFF" + struct.pack("<I", 100) + b"AVI " + bytes(96), False),
        (b"RIFF" + struct.pack("<I", 101) + b"AVI " + bytes(96), True),
        (b"\x1aE\xdf\xa3\x81\0\x18S\x80g\x8a" + bytes(10), False),
        (b"\x1aE\xdf\xa3\x81\0\x18S\x80g\x8b" + bytes(10), True),
        (b"\x1aE\xdf\xa3\x81\0\x18S\x80g\x01" + b"\xff" * 7 + bytes(9), False),
        (packets(188, 0)[:-3], False),
    ],
)
def test_a_file_that_ends_before_it_says(data: bytes, early: bool) -> None:
    opened = file(data)
    assert containers.ends_early(opened, containers.recognise(opened)) is early
