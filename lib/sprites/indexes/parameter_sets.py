"""The size of the picture from the parameter sets of a video stream (H.264 7.3.2.1, H.265 7.3.2.2, H.262 6.2.2)."""

from __future__ import annotations

from typing import NamedTuple

from lib.sprites.indexes.access_units import MPEG_SEQUENCE, units

HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
LARGEST = 1 << 16


class Shape(NamedTuple):
    """Of a coded picture, before it is cropped; 0 where it is not told."""

    width: int = 0
    height: int = 0
    fields: bool = False
    """Whether pictures may be single fields."""


def shape(codec: str, data: bytes) -> Shape:
    """From the parameter sets (Annex B), as far as they are understood."""
    try:
        for at in units(data):
            if codec == "h264" and data[at] & 31 == 7:
                return _h264(Bits(data[at + 1 : at + 256]))
            if codec == "hevc" and data[at] >> 1 & 63 == 33:
                return _hevc(Bits(data[at + 2 : at + 256]))
            if codec in ("mpeg1video", "mpeg2video") and data[at] == MPEG_SEQUENCE:
                bits = Bits(data[at + 1 : at + 4])
                return Shape(bits.read(12), bits.read(12))
    except EOFError:
        pass
    return Shape()


class Bits:
    """Raises EOFError at the end."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise EOFError
        return (1 << zeros) - 1 + self.read(zeros)


def _h264(bits: Bits) -> Shape:
    profile = bits.read(8)
    bits.read(16)
    bits.golomb()
    if profile in HIGH_PROFILES:
        chroma = bits.golomb()
        if chroma == 3:
            bits.read(1)
        bits.golomb()
        bits.golomb()
        bits.read(1)
        if bits.read(1):
            _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.read(1)
        bits.golomb()
        bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb()
    bits.read(1)
    width, rows = bits.golomb() + 1, bits.golomb() + 1
    progressive = bits.read(1)
    return _checked(width * 16, rows * 16 * (2 - progressive), not progressive)


def _skip_scaling_lists(bits: Bits, count: int) -> None:
    for number in range(count):
        if not bits.read(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                code = bits.golomb()
                following = (last + (code + 1) // 2 * (1 if code % 2 else -1)) % 256
            last = following or last


def _hevc(bits: Bits) -> Shape:
    bits.read(4)
    layers = bits.read(3)
    bits.read(1)
    bits.read(96)
    flags = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    if layers:
        bits.read(2 * (8 - layers))
    for profile, level in flags:
        bits.read(88 * profile + 8 * level)
    bits.golomb()
    if bits.golomb() == 3:
        bits.read(1)
    return _checked(bits.golomb(), bits.golomb(), False)


def _checked(width: int, height: int, fields: bool) -> Shape:
    return Shape(width, height, fields) if max(width, height) < LARGEST else Shape(fields=fields)
