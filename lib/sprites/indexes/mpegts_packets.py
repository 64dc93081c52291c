"""Packets of MPEG-TS and what they carry (ISO/IEC 13818-1, 2.4.3): tables and packetised elementary streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lib.sprites.indexes import NoIndex
from lib.sprites.indexes.access_units import START, frame_start, is_key

SYNC = 0x47
PACKET = 188
STRIDES = (188, 192, 204)
"""Plain, with time codes before (Blu-ray), with parity behind."""
CHECKED = 8
"""Packets whose sync bytes tell the stride."""
CODECS = {
    0x01: "mpeg1video",
    0x02: "mpeg2video",
    0x10: "mpeg4",
    0x1B: "h264",
    0x24: "hevc",
}
SOUNDS = {0x03, 0x04, 0x0F, 0x11, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87}
OTHER_VIDEOS = {0x1E, 0x20, 0x21, 0x33, 0x42, 0xD1, 0xD2, 0xD4, 0xEA}
"""Video that is not read here."""
PRIVATE = 0x06
SOUND_DESCRIPTORS, FORMAT, OTHER = {0x6A, 0x7A, 0x7B, 0x7C}, 0x05, {0x56, 0x59, 0x45, 0x52, 0x0A}
"""AC-3, E-AC-3, DTS, AAC; a format by name; teletext, subtitles and the like, which say nothing of pictures."""
SOUND_STREAMS = range(0xC0, 0xE0)
FIRST_PARTS = 12
"""Packets among which a frame tells whether it is a key frame."""


@dataclass(frozen=True)
class Grid:
    """Where packets are: every `stride` bytes from `base` up to `stop`, where the last one ends."""

    base: int
    stride: int
    stop: int

    def down(self, position: int) -> int:
        """The packet at or before this position."""
        return self.base + max(0, position - self.base) // self.stride * self.stride


def find_grid(head: bytes, size: int) -> Grid:
    for stride in STRIDES:
        for base in range(min(stride, len(head))):
            syncs = head[base : base + CHECKED * stride : stride]
            if len(syncs) >= 3 and syncs.count(SYNC) == len(syncs):
                whole = (size - base - PACKET) // stride + 1
                return Grid(base, stride, base + (whole - 1) * stride + PACKET)
    raise NoIndex("This is not MPEG-TS.")


@dataclass
class Unit:
    """A packetised elementary stream packet, and the frame that begins in it."""

    position: int
    stream: int = 0
    """Its stream_id."""
    pts: int | None = None
    dts: int | None = None
    parts: list[bytes] = field(default_factory=list)
    """Of its content, and of the frame's rest in the next one."""
    lead: int = 0
    """Bytes of the content before the frame."""
    whole: bool = False
    """Whether the next frame was seen to begin."""
    random_access: bool = False

    @property
    def data(self) -> bytes:
        """The frame."""
        return b"".join(self.parts)[self.lead :]

    def is_key(self, codec: str) -> bool:
        beginning = b"".join(self.parts[:FIRST_PARTS])[self.lead :]
        told = is_key(codec, beginning)
        if told is None and len(self.parts) > FIRST_PARTS:
            told = is_key(codec, self.data)
        return self.random_access if told is None else told

    def settle(self) -> None:
        """Reads the header off the first parts."""
        data = b"".join(self.parts[:3])
        self.parts[:3] = []
        if data[:3] != START or len(data) < 9 + data[8]:
            return
        self.stream = data[3]
        self.pts = _timestamp(data, 9) if data[7] & 0x80 else None
        self.dts = _timestamp(data, 14) if data[7] & 0xC0 == 0xC0 else self.pts
        self.parts.insert(0, data[9 + data[8] :])


def _timestamp(data: bytes, at: int) -> int | None:
    """33 bits among markers."""
    if at + 5 > len(data):
        return None
    a, b, c, d, e = data[at : at + 5]
    return (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1


def units(data: bytes, start: int, grid: Grid, pid: int, codec: str = "") -> Iterator[Unit]:
    """What begins in these bytes, which are of the file from `start` on, where a packet begins.

    Frames begin where packetised packets do, or somewhere in them (only looked for with a `codec`).
    """
    before: Unit | None = None
    for unit in _units(data, start, grid, pid):
        unit.settle()
        lead = frame_start(codec, b"".join(unit.parts)) if codec else 0
        if before is not None:
            before.parts += unit.parts if lead is None else [b"".join(unit.parts)[:lead]] if lead else []
            if lead is not None:
                before.whole = True
                yield before
        if lead is not None:
            unit.lead, before = lead, unit
    if before is not None:
        yield before


def _units(data: bytes, start: int, grid: Grid, pid: int) -> Iterator[Unit]:
    unit: Unit | None = None
    for place, payload, begins, random_access in _payloads(data, grid, pid):
        if begins:
            if unit is not None:
                yield unit
            unit = Unit(start + place)
        if unit is not None:
            unit.parts.append(payload)
            unit.random_access |= random_access
    if unit is not None:
        yield unit


def _payloads(data: bytes, grid: Grid, pid: int) -> Iterator[tuple[int, bytes, bool, bool]]:
    count = max(0, (len(data) - PACKET) // grid.stride + 1)
    reach = count * grid.stride
    if data[: reach : grid.stride].count(SYNC) != count:
        raise NoIndex("The packets are out of step.")
    high, low = pid >> 8, pid & 0xFF
    places = zip(data[1 : reach : grid.stride], data[2 : reach : grid.stride], strict=False)
    for number, (first, second) in enumerate(places):
        if second != low or first & 0x1F != high or first & 0x80:
            continue
        place = number * grid.stride
        control = data[place + 3]
        if control & 0xC0:
            raise NoIndex("The video is scrambled.")
        begin, random_access = place + 4, False
        if control & 0x20:
            length = data[place + 4]
            random_access = length > 0 and bool(data[place + 5] & 0x40)
            begin += 1 + length
        if control & 0x10 and begin < place + PACKET:
            yield place, data[begin : place + PACKET], bool(first & 0x40), random_access


@dataclass(frozen=True)
class Program:
    video: int
    codec: str
    sounds: frozenset[int]


def read_program(data: bytes, grid: Grid) -> Program:
    """The streams of the only program, from the beginning of the file."""
    data = data[grid.base :]
    maps = set()
    table = _section(data, grid, 0, 0x00)
    for at in range(8, len(table) - 4, 4):
        if table[at] or table[at + 1]:
            maps.add((table[at + 2] & 0x1F) << 8 | table[at + 3])
    if len(maps) != 1:
        raise NoIndex("There is not exactly one program.")
    table = _section(data, grid, maps.pop(), 0x02)
    streams = list(_streams(table))
    videos = [(kind, pid) for kind, pid, _ in streams if kind in CODECS or kind in OTHER_VIDEOS]
    if not videos or videos[0][0] not in CODECS:
        raise NoIndex("There is no video stream of a kind that is read here.")
    sounds = {pid for kind, pid, sound in streams if kind in SOUNDS or sound}
    for pid in [pid for _, pid, sound in streams if sound is None]:
        first = next(units(data, 0, grid, pid), None)
        if first is None or first.stream not in SOUND_STREAMS:
            raise NoIndex("There is a stream that does not tell what it is.")
        sounds.add(pid)
    return Program(videos[0][1], CODECS[videos[0][0]], frozenset(sounds))


def _streams(table: bytes) -> Iterator[tuple[int, int, bool | None]]:
    """Type, number, and of private ones: whether it is sound (None: it does not tell)."""
    at = 12 + ((table[10] & 0x0F) << 8 | table[11]) if len(table) > 12 else len(table)
    while at + 5 <= len(table) - 4:
        kind, pid = table[at], (table[at + 1] & 0x1F) << 8 | table[at + 2]
        stop = at + 5 + ((table[at + 3] & 0x0F) << 8 | table[at + 4])
        tags, at = set(), at + 5
        while at + 2 <= min(stop, len(table) - 4):
            tag, name = table[at], table[at + 2 : at + 6]
            tags.add({b"AC-3": 0x6A, b"EAC3": 0x7A, b"Opus": 0x7C}.get(name, tag) if tag == FORMAT else tag)
            at += 2 + table[at + 1]
        at = stop
        sound: bool | None = bool(tags & SOUND_DESCRIPTORS)
        if not sound and (FORMAT in tags or not tags & OTHER):
            sound = None
        yield kind, pid, sound if kind == PRIVATE else False


def _section(data: bytes, grid: Grid, pid: int, table: int) -> bytes:
    """The first whole section of a table."""
    collected: bytearray | None = None
    for _, payload, begins, _ in _payloads(data, grid, pid):
        if begins:
            collected = bytearray(payload[1 + payload[0] :])
        elif collected is not None:
            collected += payload
        if collected is not None and len(collected) >= 3:
            length = 3 + ((collected[1] & 0x0F) << 8 | collected[2])
            if collected[0] == table and len(collected) >= length:
                return bytes(collected[:length])
            if collected[0] != table:
                collected = None
    raise NoIndex("There is no table of the programs or of the streams.")
