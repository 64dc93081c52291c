"""The head of an MP4 or MOV (`moov`): which track is shown, how it is decoded, where its clock starts.

ISO/IEC 14496-12, 8; QuickTime File Format; read as libavformat reads it, so that both agree on every time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from lib.sprites.indexes import Colour, NoIndex, Track
from lib.sprites.indexes.boxes import Box, Data, Source, boxes, find, header, number

MAX_HOPS = 64
"""Boxes that are looked at on the way to the movie, and tracks in it."""
AHEAD = 128 * 1024
"""Bytes read where the movie may begin."""
LARGE = 1 << 20
"""Bytes of a movie from which on only the shown track is read whole."""
BEGINNING = 4096
"""Bytes of a track that hold all but its tables."""

CODECS = {
    b"avc1": "h264",
    b"avc3": "h264",
    b"hvc1": "hevc",
    b"hev1": "hevc",
    b"av01": "av1",
    b"vp08": "vp8",
    b"vp09": "vp9",
    b"jpeg": "mjpeg",
    b"mjpa": "mjpeg",
    b"apch": "prores",
    b"apcn": "prores",
    b"apcs": "prores",
    b"apco": "prores",
    b"ap4h": "prores",
    b"ap4x": "prores",
    b"AVdn": "dnxhd",
    b"s263": "h263",
    b"h263": "h263",
    b"m2v1": "mpeg2video",
    b"png ": "png",
}
OBJECTS = {0x20: "mpeg4", 0x6A: "mpeg1video", 0x6C: "mjpeg", 0x6D: "png"} | dict.fromkeys(
    range(0x60, 0x66), "mpeg2video"
)
"""Object types of MPEG-4 streams (mp4ra.org)."""
CONFIGURATIONS = (b"avcC", b"hvcC", b"av1C")
SOUNDS = {
    *(b"mp4a", b"ac-3", b"ec-3", b"Opus", b"fLaC", b"alac", b".mp3", b"samr", b"sawb", b"lpcm", b"twos"),
    *(b"sowt", b"raw ", b"in24", b"in32", b"fl32", b"fl64", b"ulaw", b"alaw", b"ima4", b"ipcm", b"fpcm"),
}
IDENTITY = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


@dataclass
class Trak:
    """A track; `data` may hold only its beginning."""

    data: Data
    box: Box
    position: int
    """Of the box in the file."""
    number: int
    enabled: bool
    handler: bytes
    timescale: int
    duration: int
    """In its own ticks; 0 if it does not say."""
    matrix: tuple[int, ...]
    size: tuple[int, int]
    """Of the picture on the screen, before it is turned."""
    delay: int = 0
    """Ticks of nothing before it starts."""
    edit: tuple[int, int] | None = None
    """Where in its media it starts and for how long it is played, in its own ticks."""
    odd_edits: bool = False
    chapters: set[int] = field(default_factory=set)
    """Tracks that hold pictures of its chapters."""

    @property
    def tables(self) -> Box | None:
        return find(self.data, self.box, b"mdia", b"minf", b"stbl")

    def entry(self) -> Box:
        """Its only sample entry."""
        stsd = find(self.data, self.box, b"mdia", b"minf", b"stbl", b"stsd")
        if stsd is None or number(self.data, stsd.body + 4) != 1:
            raise NoIndex("The track does not have exactly one sample description.")
        entry = header(self.data, stsd.body + 8, stsd.stop)
        if entry is None:
            raise NoIndex("The sample description is missing.")
        return entry

    def first_table_row(self, kind: bytes) -> tuple[int, int, int] | None:
        """Number of rows and the two numbers of the first one, of a table of runs."""
        box = find(self.data, self.box, b"mdia", b"minf", b"stbl", kind)
        if box is None:
            return None
        rows = number(self.data, box.body + 4)
        if not rows:
            return 0, 0, 0
        return rows, number(self.data, box.body + 8), number(self.data, box.body + 12, signed=True)


@dataclass
class Movie:
    box: Box
    """Where it is in the file."""
    video: Trak
    sounds: list[Trak]
    preceding: list[Trak]
    """Tracks before the shown one."""
    extended: bool
    """Fragments follow."""
    defaults: tuple[int, int, int]
    """Duration, size and flags of the samples of fragments."""


def open_movie(source: Source) -> Movie:
    """Raises NoIndex when there is none, or no track in it that can be shown."""
    place = _locate(source)
    pieces = _pieces(source, place)
    mvhd = next(((data, box) for data, box, _ in pieces if box.kind == b"mvhd"), None)
    if mvhd is None:
        raise NoIndex("The movie has no header.")
    long = 12 if number(mvhd[0], mvhd[1].body, 1) == 1 else 0
    scale = number(mvhd[0], mvhd[1].body + 12 + (8 if long else 0))
    turn = _matrix(mvhd[0], mvhd[1].body + 36 + long)
    traks = [_trak(data, box, at, scale, turn) for data, box, at in pieces if box.kind == b"trak"]
    chapters = set().union(*(trak.chapters for trak in traks)) if traks else set()
    shown = [trak for trak in traks if trak.handler == b"vide" and trak.number not in chapters]
    video = next((trak for trak in shown if trak.enabled), shown[0] if shown else None)
    if video is None:
        raise NoIndex("There is no video track.")
    if video.box.stop > len(video.data):
        data = source.read(video.position, video.position + video.box.stop)
        video.data = memoryview(data)
    mvex = next(((data, box) for data, box, _ in pieces if box.kind == b"mvex"), None)
    return Movie(
        box=place,
        video=video,
        sounds=[trak for trak in traks if trak.handler == b"soun"],
        preceding=traks[: traks.index(video)],
        extended=mvex is not None,
        defaults=_defaults(*mvex, video.number) if mvex else (0, 0, 0),
    )


def _locate(source: Source) -> Box:
    """Hops from box to box at the top of the file."""
    position = 0
    for _ in range(MAX_HOPS):
        head = header(source.ahead(position, 16, AHEAD), 0, source.size - position)
        if head is None:
            break
        if head.kind == b"moov":
            return Box(head.kind, position, position + head.body, position + head.stop)
        position += head.stop
    raise NoIndex("There is no movie header in the file.")


def _pieces(source: Source, place: Box) -> list[tuple[Data, Box, int]]:
    """The boxes of the movie with the bytes that they are in and their place in the file; of a large one only
    how its tracks begin."""
    if place.stop - place.start <= LARGE:
        data = memoryview(source.read(place.start, place.stop))
        inner = boxes(data, place.body - place.start, len(data))
        return [(data, box, place.start + box.start) for box in inner]
    pieces: list[tuple[Data, Box, int]] = []
    position = place.body
    while position + 8 <= place.stop:
        if len(pieces) == MAX_HOPS:
            raise NoIndex("The movie has too many parts.")
        begin = source.ahead(position, min(BEGINNING, place.stop - position))
        box = header(begin, 0, place.stop - position)
        if box is None:
            break
        pieces.append((begin, box, position))
        position += box.stop
    return pieces


def _matrix(data: Data, at: int) -> tuple[int, ...]:
    return tuple(number(data, at + 4 * place, signed=True) for place in range(9))


def _trak(data: Data, box: Box, position: int, movie_scale: int, turn: tuple[int, ...]) -> Trak:
    tkhd, mdhd = find(data, box, b"tkhd"), find(data, box, b"mdia", b"mdhd")
    hdlr = find(data, box, b"mdia", b"hdlr")
    if tkhd is None or mdhd is None or hdlr is None:
        raise NoIndex("A track lacks its headers.")
    long = number(data, tkhd.body, 1) == 1
    matrix_at = tkhd.body + (52 if long else 40)
    matrix, shifts = _matrix(data, matrix_at), (16, 16, 30)
    combined = tuple(
        sum(matrix[3 * row + each] * turn[3 * each + column] >> shifts[each] for each in range(3))
        for row in range(3)
        for column in range(3)
    )
    wide = number(data, mdhd.body, 1) == 1
    length = 8 if wide else 4
    trak = Trak(
        data=data,
        box=box,
        position=position,
        number=number(data, tkhd.body + (20 if long else 12)),
        enabled=bool(number(data, tkhd.body + 3, 1) & 1),
        handler=bytes(data[hdlr.body + 8 : hdlr.body + 12]),
        timescale=number(data, mdhd.body + (20 if wide else 12)),
        duration=number(data, mdhd.body + (24 if wide else 16), length),
        matrix=combined,
        size=(number(data, matrix_at + 36, 2), number(data, matrix_at + 40, 2)),
    )
    if trak.duration == (1 << 8 * length) - 1:
        trak.duration = 0
    chap = find(data, box, b"tref", b"chap")
    if chap is not None:
        count = min(MAX_HOPS, (chap.stop - chap.body) // 4)
        trak.chapters = {number(data, chap.body + 4 * place) for place in range(count)}
    _read_edits(trak, movie_scale)
    return trak


def _read_edits(trak: Trak, movie_scale: int) -> None:
    """ISO/IEC 14496-12, 8.6.6: nothing for a while, then one stretch of the media; the rest is odd."""
    elst = find(trak.data, trak.box, b"edts", b"elst")
    if elst is None:
        return
    count = number(trak.data, elst.body + 4)
    length = 8 if number(trak.data, elst.body, 1) == 1 else 4
    if count > MAX_HOPS or (count and not movie_scale):
        trak.odd_edits = True
        return
    for row in range(count):
        at = elst.body + 8 + row * (2 * length + 4)
        lasts = number(trak.data, at, length)
        lasts = (2 * lasts * trak.timescale + movie_scale) // (2 * movie_scale)
        begins = number(trak.data, at + length, length, signed=True)
        if begins == -1 and trak.edit is None:
            trak.delay += lasts
        elif begins < 0 or trak.edit is not None or number(trak.data, at + 2 * length) != 1 << 16:
            trak.odd_edits = True
        else:
            trak.edit = begins, lasts
    if count and trak.edit is None:
        trak.odd_edits = True


def player_zero(start: Fraction, sounds: list[tuple[Trak, Fraction | None]]) -> Fraction:
    """Seconds on the movie's clock at which players begin: with the first thing there is, picture or sound,
    but not before 0. `start`: of the pictures; with each sound its own, None if it never begins."""
    zero = max(start, Fraction(0))
    for trak, begins in sounds:
        if begins is not None and begins < zero:
            stsd = find(trak.data, trak.box, b"mdia", b"minf", b"stbl", b"stsd")
            entry = header(trak.data, stsd.body + 8, stsd.stop) if stsd else None
            if entry is None or entry.kind not in SOUNDS:
                raise NoIndex("There is sound that may not be playable, and it would begin first.")
            zero = max(begins, Fraction(0))
    return zero


def _defaults(data: Data, mvex: Box, track: int) -> tuple[int, int, int]:
    for box in boxes(data, mvex.body, mvex.stop):
        if box.kind == b"trex" and number(data, box.body + 4) == track:
            duration, size, flags = (number(data, box.body + 12 + 4 * place) for place in range(3))
            return duration, size, flags
    raise NoIndex("The movie does not say how the track's fragments begin.")


# -- the shown track


def describe(trak: Trak, *, tick: Fraction, end: int) -> Track:
    """What a decoder and a painter need to know. Raises NoIndex for what is not decoded from here."""
    data, entry = trak.data, trak.entry()
    width, height = number(data, entry.body + 24, 2), number(data, entry.body + 26, 2)
    inner = {box.kind: box for box in reversed([*boxes(data, entry.body + 78, entry.stop)])}
    codec, extradata = CODECS.get(entry.kind, ""), b""
    if entry.kind == b"mp4v" and b"esds" in inner:
        codec, extradata = _elementary_stream(data, inner[b"esds"])
    for kind in CONFIGURATIONS:
        if kind in inner:
            extradata = bytes(data[inner[kind].body : inner[kind].stop])
    if not codec or (codec in ("h264", "hevc") and not extradata):
        raise NoIndex(f"Video of the kind {entry.kind!r} is not read here.")
    rotation, mirrored = _orientation(trak.matrix)
    return Track(
        codec=codec,
        extradata=extradata,
        width=width,
        height=height,
        pixel_aspect=_pixel_aspect(trak, inner.get(b"pasp"), width, height),
        rotation=rotation,
        mirrored=mirrored,
        tick=tick,
        end=end,
        colour=_colour(data, inner),
    )


def _elementary_stream(data: Data, esds: Box) -> tuple[str, bytes]:
    """ISO/IEC 14496-1, 7.2.6: ES descriptor (3), decoder configuration (4), decoder specific info (5)."""
    at, stop, codec = esds.body + 4, esds.stop, ""
    while at < stop:
        tag, length = number(data, at, 1), 0
        at += 1
        for _ in range(4):
            byte = number(data, at, 1)
            at += 1
            length = length << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if at + length > stop:
            break
        if tag == 3:
            flags = number(data, at + 2, 1)
            at += 3 + (2 if flags & 0x80 else 0) + (2 if flags & 0x20 else 0)
            if flags & 0x40:
                at += 1 + number(data, at, 1)
        elif tag == 4:
            codec = OBJECTS.get(number(data, at, 1), "")
            at += 13
        elif tag == 5:
            return codec, bytes(data[at : at + length])
        else:
            at += length
    return codec, b""


def _orientation(matrix: tuple[int, ...]) -> tuple[int, bool]:
    a, b, _, c, d = matrix[:5]
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    if not a and not b:
        return 0, False
    return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360, mirrored


def _pixel_aspect(trak: Trak, pasp: Box | None, width: int, height: int) -> Fraction | None:
    """As told; else as the track is stretched by its matrix or its size on the screen."""
    if pasp is not None:
        across, down = number(trak.data, pasp.body), number(trak.data, pasp.body + 4)
        if across and down:
            return Fraction(across, down)
    if all(trak.size) and trak.matrix != IDENTITY:
        across_scale = math.hypot(trak.matrix[0], trak.matrix[3])
        down_scale = math.hypot(trak.matrix[1], trak.matrix[4])
        usual = all(1 < scale < 1 << 24 for scale in (across_scale, down_scale))
        if usual and abs(across_scale / down_scale - 1) > 0.01:
            return Fraction(across_scale / down_scale).limit_denominator(1 << 16)
    if all(trak.size) and width and height and trak.size != (width, height):
        return Fraction(height * trak.size[0], width * trak.size[1])
    return None


def _colour(data: Data, inner: dict[bytes, Box]) -> Colour | None:
    """`colr` of ISO/IEC 14496-12, 12.1.5 or QuickTime; `vpcC` of VP9 in ISO BMFF says it too."""
    colr, vpcc = inner.get(b"colr"), inner.get(b"vpcC")
    if colr is not None and bytes(data[colr.body : colr.body + 4]) in (b"nclx", b"nclc"):
        full = data[colr.body : colr.body + 4] == b"nclx" and number(data, colr.body + 10, 1) >> 7 == 1
        primaries, transfer, matrix = (number(data, colr.body + 4 + 2 * place, 2) for place in range(3))
        return Colour(primaries, transfer, matrix, full)
    if vpcc is not None:
        primaries, transfer, matrix = (number(data, vpcc.body + 7 + place, 1) for place in range(3))
        return Colour(primaries, transfer, matrix, bool(number(data, vpcc.body + 6, 1) & 1))
    return None
