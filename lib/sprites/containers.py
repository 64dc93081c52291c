"""What kind of file it is, by its first bytes, before a demuxer sees it.

FFmpeg is told the demuxer instead of probing: texts that name other files (playlists, lists to
concatenate, drawings) never reach code that would open them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import Corrupt, Unsupported
from lib.sprites.reading import SourceFile

HEAD = 4096
"""Bytes that are looked at."""
MAX_BOXES = 64
"""Top-level boxes of an MP4 that are walked; a fragmented one has thousands."""

ADTS_AND_MPEG_AUDIO = {
    b"\xff\xf1",
    b"\xff\xf9",
    b"\xff\xfb",
    b"\xff\xfa",
    b"\xff\xf3",
    b"\xff\xf2",
    b"\xff\xe3",
}
STILL_BRANDS = {b"avif", b"heic", b"heix", b"mif1", b"heim", b"heis", b"jpeg"}
BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx", b"uuid"}


@dataclass(frozen=True)
class Container:
    name: str
    demuxer: str
    indexed: bool = False
    """Its index knows all key frames: seeking lands on one, and costs nothing but reading there."""


MP4 = Container("mp4", "mov", indexed=True)
FRAGMENTED = Container("mp4", "mov")
QUICKTIME = Container("mov", "mov", indexed=True)
MATROSKA = Container("matroska", "matroska", indexed=True)
WEBM = Container("webm", "matroska", indexed=True)
MPEG_TS = Container("mpegts", "mpegts")
MPEG_PS = Container("mpegps", "mpeg")

SIGNATURES: tuple[tuple[int, bytes, Container], ...] = (
    (0, b"\x00\x00\x01\xba", MPEG_PS),
    (0, b"FLV\x01", Container("flv", "flv")),
    (8, b"AVI ", Container("avi", "avi")),
    (8, b"WAVE", Container("wav", "wav")),
    (0, b"OggS", Container("ogg", "ogg")),
    (0, bytes.fromhex("3026b2758e66cf11"), Container("asf", "asf")),
    (0, b"GIF87a", Container("gif", "gif")),
    (0, b"GIF89a", Container("gif", "gif")),
    (0, bytes.fromhex("060e2b34020501010d0102"), Container("mxf", "mxf")),
    (0, b"DKIF", Container("ivf", "ivf")),
    (0, b"fLaC", Container("flac", "flac")),
    (0, b"#!AMR", Container("amr", "amr")),
    (0, b"caff", Container("caf", "caf")),
    (8, b"AIFF", Container("aiff", "aiff")),
    (0, b"ID3", Container("mp3", "mp3")),
)
DEMUXERS = sorted({"mov", "matroska", "mpegts", "aac"} | {kind.demuxer for _, _, kind in SIGNATURES})
"""The whole list that FFmpeg may choose from, should it choose."""


def recognise(file: SourceFile) -> Container:
    """Raises Corrupt for an empty file, Unsupported for one that is no known kind of video or sound."""
    head = file.peek(0, HEAD)
    if not head.strip(b"\x00"):
        reason = (
            "The file is empty." if not file.size else "The file holds nothing but zeros where it starts."
        )
        raise Corrupt(reason=reason)
    if head[4:8] in BOXES:
        return _iso(file, head)
    if head.startswith(b"\x1aE\xdf\xa3"):
        return WEBM if b"webm" in head[:64] else MATROSKA
    for offset, signature, container in SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return container
    if _is_transport_stream(head):
        return MPEG_TS
    if head[:2] in ADTS_AND_MPEG_AUDIO:
        return Container("aac", "aac") if head[1] in (0xF1, 0xF9) else Container("mp3", "mp3")
    raise Unsupported(reason="This is not a video file of a kind that is known here.")


def _iso(file: SourceFile, head: bytes) -> Container:
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in STILL_BRANDS:
        raise Unsupported(reason="This is a still picture, not a video.")
    if b"mvex" in file.peek(0, 64 * 1024) or head[4:8] in (b"styp", b"moof", b"sidx"):
        return FRAGMENTED
    return QUICKTIME if brand in (b"qt  ", b"") else MP4


def _is_transport_stream(head: bytes) -> bool:
    """Sync bytes at the distance of packets: plain, with time codes (Blu-ray), with parity."""
    for length in (188, 192, 204):
        for start in range(length):
            packets = range(start, min(len(head), start + 5 * length), length)
            if len(packets) >= 3 and all(head[at] == 0x47 for at in packets):
                return True
    return False


def ends_early(file: SourceFile, container: Container) -> bool:
    """Whether the file is shorter than its own framing says. Streams (MPEG-TS and the like) never say."""
    tell = {"mov": _end_of_boxes, "matroska": _end_of_segment, "avi": _end_of_riff}.get(container.demuxer)
    return tell is not None and tell(file) > file.size


def _end_of_boxes(file: SourceFile) -> int:
    """ISO/IEC 14496-12, 4.2: size and type; 1 is a longer size behind it, 0 reaches to the end of the file."""
    position = 0
    for _ in range(MAX_BOXES):
        header = file.peek(position, 16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size < 8:
            return position
        position += size
    return position


def _end_of_segment(file: SourceFile) -> int:
    """RFC 8794: the EBML header, then the segment, each with an identifier of four bytes and a size."""
    position = 0
    for identifier in (b"\x1aE\xdf\xa3", b"\x18S\x80g"):
        head = file.peek(position, 12)
        if head[:4] != identifier or len(head) < 12:
            return 0
        length = 9 - head[4].bit_length()
        size = int.from_bytes(head[4 : 4 + length], "big") & ((1 << 7 * length) - 1)
        if size == (1 << 7 * length) - 1:  # not known: a live recording
            return 0
        position += 4 + length + size
    return position


def _end_of_riff(file: SourceFile) -> int:
    size = int.from_bytes(file.peek(4, 4), "little")
    return 0 if size == 0xFFFFFFFF else 8 + size
