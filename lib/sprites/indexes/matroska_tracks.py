"""The tracks of a Matroska file (RFC 9559, 5.1.4): which one is shown, and how it is decoded.

Read as libavformat reads them, so that both give the same to a decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from lib.sprites.indexes import Colour, NoIndex
from lib.sprites.indexes.ebml import Element, content, elements, number, real

CODECS = {
    b"V_MPEG4/ISO/AVC": "h264",
    b"V_MPEGH/ISO/HEVC": "hevc",
    b"V_VP8": "vp8",
    b"V_VP9": "vp9",
    b"V_AV1": "av1",
    b"V_MPEG1": "mpeg1video",
    b"V_MPEG2": "mpeg2video",
    b"V_MPEG4/ISO/ASP": "mpeg4",
    b"V_MPEG4/ISO/SP": "mpeg4",
    b"V_MPEG4/ISO/AP": "mpeg4",
    b"V_MJPEG": "mjpeg",
    b"V_THEORA": "theora",
    b"V_PRORES": "prores",
    b"V_FFV1": "ffv1",
}
VIDEO, SOUND = 1, 2
MAX_TRACKS = 256
TWO_WIDE, TWO_HIGH = (1, 8, 9, 11), (2, 3, 6, 7)
"""Stereo modes that keep two pictures beside, or above, each other."""

NUMBER, TYPE, CODEC, PRIVATE, DEFAULT = 0xD7, 0x83, 0x86, 0x63A2, 0x88
DEFAULT_DURATION, CODEC_DELAY, TRACK_SCALE = 0x23E383, 0x56AA, 0x23314F
ENCODINGS, ENCODING, SCOPE, ENCODING_TYPE = 0x6D80, 0x6240, 0x5032, 0x5033
COMPRESSION, ALGORITHM, SETTINGS, HEADER_STRIPPING = 0x5034, 0x4254, 0x4255, 3
PICTURE, WIDTH, HEIGHT, STEREO = 0xE0, 0xB0, 0xBA, 0x53B8
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT, UNKNOWN_UNIT = 0x54B0, 0x54BA, 0x54B2, 4
CROPS = {0x54BB: 1, 0x54AA: 1, 0x54CC: 0, 0x54DD: 0}
"""What is cut off at the top, bottom, left and right, and its axis."""
COLOUR, MATRIX, RANGE, TRANSFER, PRIMARIES = 0x55B0, 0x55B1, 0x55B9, 0x55BA, 0x55BB
PROJECTION, PROJECTION_TYPE, PRIVATE_PROJECTION = 0x7670, 0x7671, 0x7672
YAW, PITCH, ROLL = 0x7673, 0x7674, 0x7675


@dataclass
class Entry:
    """A track as its entry tells it."""

    number: int = 0
    kind: int = 0
    codec_id: bytes = b""
    private: bytes = b""
    default: bool = True
    frame_lasts: int = 0
    """Nanoseconds."""
    delay: int = 0
    """Nanoseconds that its times are late."""
    stripped: bytes = b""
    """What every frame begins with, left out of the file."""
    width: int = 0
    height: int = 0
    pixel_aspect: Fraction | None = None
    colour: Colour | None = None
    rotation: int = 0
    mirrored: bool = False
    refused: str = ""
    """Why it cannot be read here."""

    @property
    def codec(self) -> str:
        return next((name for start, name in CODECS.items() if self.codec_id.startswith(start)), "")

    @property
    def extradata(self) -> bytes:
        return b"" if self.codec == "vp9" else self.private


def choose(data: bytes) -> tuple[Entry, list[Entry]]:
    """The track that is shown, and all there are, from the content of `Tracks`."""
    entries = [_entry(data, each) for each in elements(data, 0, len(data)) if each.id == 0xAE]
    if len(entries) > MAX_TRACKS:
        raise NoIndex("There are too many tracks.")
    shown = [each for each in entries if each.kind == VIDEO and each.codec_id.startswith(b"V")]
    video = next((each for each in shown if each.default), shown[0] if shown else None)
    if video is None:
        raise NoIndex("There is no video track.")
    if video.refused or not video.codec:
        raise NoIndex(video.refused or "The codec is not one that is read here.")
    if [each.number for each in entries].count(video.number) != 1:
        raise NoIndex("Two tracks have the same number.")
    return video, entries


def _entry(data: bytes, track: Element) -> Entry:
    entry = Entry()
    children = {each.id: each for each in elements(data, track.body, track.stop)}
    entry.number = _number(data, children, NUMBER)
    entry.kind = _number(data, children, TYPE)
    entry.codec_id = content(data, children[CODEC]).rstrip(b"\0") if CODEC in children else b""
    entry.private = content(data, children[PRIVATE]) if PRIVATE in children else b""
    entry.default = _number(data, children, DEFAULT, 1) == 1
    entry.frame_lasts = _number(data, children, DEFAULT_DURATION)
    entry.delay = _number(data, children, CODEC_DELAY)
    if TRACK_SCALE in children and real(data, children[TRACK_SCALE]) != 1.0:
        entry.refused = "The track has a time scale of its own."
    if entry.kind == VIDEO:
        if ENCODINGS in children:
            _undo_encodings(data, children[ENCODINGS], entry)
        if PICTURE in children:
            _picture(data, children[PICTURE], entry)
    return entry


def _number(data: bytes, children: dict[int, Element], name: int, default: int = 0) -> int:
    return number(data, children[name]) if name in children else default


def _undo_encodings(data: bytes, found: Element, entry: Entry) -> None:
    encodings = [each for each in elements(data, found.body, found.stop) if each.id == ENCODING]
    if not encodings:
        return
    children = {each.id: each for each in elements(data, encodings[0].body, encodings[0].stop)}
    algorithm, settings = 0, b""
    if COMPRESSION in children:
        inner = {
            each.id: each for each in elements(data, children[COMPRESSION].body, children[COMPRESSION].stop)
        }
        algorithm = _number(data, inner, ALGORITHM)
        settings = content(data, inner[SETTINGS]) if SETTINGS in inner else b""
    if len(encodings) > 1 or _number(data, children, ENCODING_TYPE) or algorithm != HEADER_STRIPPING:
        entry.refused = "The track is encrypted, or compressed once more."
        return
    scope = _number(data, children, SCOPE, 1)
    entry.stripped = settings if scope & 1 else b""
    entry.private = settings + entry.private if scope & 2 and entry.private else entry.private


def _picture(data: bytes, found: Element, entry: Entry) -> None:
    children = {each.id: each for each in elements(data, found.body, found.stop)}
    entry.width, entry.height = _number(data, children, WIDTH), _number(data, children, HEIGHT)
    cropped = [entry.width, entry.height]
    for name, axis in CROPS.items():
        cropped[axis] -= _number(data, children, name)
    if min(cropped) <= 0 or max(entry.width, entry.height) >= 1 << 20:
        entry.refused = "The size of the picture is not possible."
        return
    unit = _number(data, children, DISPLAY_UNIT)
    stereo = _number(data, children, STEREO)
    default = cropped if unit == 0 else [0, 0]
    width = _number(data, children, DISPLAY_WIDTH, default[0]) * (2 if stereo in TWO_WIDE else 1)
    height = _number(data, children, DISPLAY_HEIGHT, default[1]) * (2 if stereo in TWO_HIGH else 1)
    if unit < UNKNOWN_UNIT and width and height:
        entry.pixel_aspect = Fraction(cropped[1] * width, cropped[0] * height)
    if COLOUR in children:
        entry.colour = _colour(data, children[COLOUR])
    if PROJECTION in children:
        _projection(data, children[PROJECTION], entry)


def _colour(data: bytes, found: Element) -> Colour:
    children = {each.id: each for each in elements(data, found.body, found.stop)}
    return Colour(
        primaries=_number(data, children, PRIMARIES, 2),
        transfer=_number(data, children, TRANSFER, 2),
        matrix=_number(data, children, MATRIX, 2),
        full_range=_number(data, children, RANGE) == 2,
    )


def _projection(data: bytes, found: Element, entry: Entry) -> None:
    """Counterclockwise roll, and a yaw of half a turn, which mirrors; of a flat picture only."""
    children = {each.id: each for each in elements(data, found.body, found.stop)}
    private = content(data, children[PRIVATE_PROJECTION]) if PRIVATE_PROJECTION in children else b""
    yaw, pitch, roll = (
        real(data, children[name]) if name in children else 0.0 for name in (YAW, PITCH, ROLL)
    )
    if _number(data, children, PROJECTION_TYPE) or private[:1] not in (b"", b"\0"):
        return
    if pitch or yaw not in (0.0, 180.0, -180.0):
        return
    entry.rotation = round(-roll / 90) * 90 % 360
    entry.mirrored = yaw != 0.0
