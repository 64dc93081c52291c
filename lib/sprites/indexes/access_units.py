"""What the bytes of a compressed frame tell before they are decoded: whether it stands alone, who needs it.

ITU-T H.264 7.3.1 and 7.4.1, H.265 7.3.1 and 7.4.2, H.262 6.2.3, ISO/IEC 14496-2 6.2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

START = b"\x00\x00\x01"
RECOVERY_POINT = 6
"""Type of the SEI message."""
H264_DELIMITER, HEVC_DELIMITER = 9, 35 << 1
H264_SLICES, H264_IDR, H264_SEI, H264_PARAMETERS = (1, 2, 5), 5, 6, (7, 8)
HEVC_KEYS, HEVC_PARAMETERS = range(16, 24), (32, 33, 34)
MPEG_PICTURE, MPEG_SEQUENCE, VOP = 0x00, 0xB3, 0xB6

Disposable = Callable[[bytes], bool]
"""Whether no other frame needs this one."""


def units(data: bytes, start: int = 0) -> Iterator[int]:
    """Where what follows each start code begins (Annex B, and MPEG video)."""
    while (start := data.find(START, start) + 3) > 2 and start < len(data):
        yield start


def prefixed_units(data: bytes, width: int) -> Iterator[int]:
    """The same where each unit's length stands before it (avcC, hvcC)."""
    at = 0
    while at + width < len(data):
        yield at + width
        at += width + int.from_bytes(data[at : at + width], "big")


def disposable(codec: str, extradata: bytes) -> Disposable:
    """Of samples as a container with this `extradata` has them; never, where it cannot be told cheaply."""
    if codec == "h264":
        width = extradata[4] % 4 + 1 if extradata[:1] == b"\x01" and len(extradata) > 4 else 0
        return lambda data: _h264_disposable(data, width)
    if codec == "hevc":
        configured = extradata[:1] == b"\x01" and len(extradata) > 21
        width = extradata[21] % 4 + 1 if configured else 0
        layers = extradata[21] >> 3 & 7 if configured else hevc_layers(extradata)
        return lambda data: _hevc_disposable(data, width, layers)
    if codec in ("mpeg1video", "mpeg2video"):
        return lambda data: _kinds(data, MPEG_PICTURE, 1, 3) == {3}
    if codec == "mpeg4":
        return lambda data: _kinds(data, VOP, 0, 6) == {2}
    return lambda data: False


def hevc_layers(parameters: bytes) -> int:
    """Temporal layers, from the sequence parameter set among these units (Annex B); 0 if there is none."""
    for at in units(parameters):
        if parameters[at] >> 1 & 63 == 33 and at + 2 < len(parameters):
            return (parameters[at + 2] >> 1 & 7) + 1
    return 0


def is_key(codec: str, data: bytes) -> bool | None:
    """Whether the frame that begins here (Annex B, MPEG video) is a key frame; None if it goes on too long
    before that can be told."""
    for at in units(data):
        kind = data[at]
        if codec == "h264":
            if kind & 31 == H264_SEI and _has_recovery_point(data, at + 1):
                return True
            if kind & 31 in H264_SLICES:
                return kind & 31 == H264_IDR
        elif codec == "hevc":
            if kind >> 1 & 63 < 32:
                return kind >> 1 & 63 in HEVC_KEYS
        elif kind == (VOP if codec == "mpeg4" else MPEG_PICTURE):
            place = at + (1 if codec == "mpeg4" else 2)
            if place >= len(data):
                return None
            return data[place] >> 6 == 0 if codec == "mpeg4" else data[place] >> 3 & 7 == 1
    return None


def frame_start(codec: str, data: bytes) -> int | None:
    """Where in the content of a packet the first frame begins: at once, or by a delimiter on the way."""
    if data[:3] == START or data[:4] == b"\x00" + START:
        return 0
    delimiters = {"h264": (H264_DELIMITER,), "hevc": (HEVC_DELIMITER,), "mpeg4": (0xB0, 0xB3, VOP)}
    for at in units(data):
        if data[at] in delimiters.get(codec, (MPEG_SEQUENCE, 0xB8, MPEG_PICTURE)):
            return at - 4 if data[at - 4 : at - 3] == b"\x00" else at - 3
    return None


def frames_in(codec: str, data: bytes) -> int:
    """How many frames are told apart by delimiters here."""
    delimiter = {"h264": H264_DELIMITER, "hevc": HEVC_DELIMITER}.get(codec)
    return sum(data[at] == delimiter for at in units(data))


def parameters(codec: str, data: bytes) -> bytes:
    """The parameter sets (sequence headers) at the beginning of a frame, whole, with their start codes."""
    found = []
    places = [*units(data), len(data) + 3]
    for at, following in pairwise(places):
        kind = data[at]
        if (codec == "h264" and kind & 31 in H264_SLICES) or (codec == "hevc" and kind >> 1 & 63 < 32):
            break
        if kind == (VOP if codec == "mpeg4" else MPEG_PICTURE) and codec not in ("h264", "hevc"):
            break
        wanted = {
            "h264": kind & 31 in H264_PARAMETERS,
            "hevc": kind >> 1 & 63 in HEVC_PARAMETERS,
            "mpeg4": kind <= 0x2F or kind in (0xB0, 0xB5),
        }
        if wanted.get(codec, kind in (MPEG_SEQUENCE, 0xB5)):
            found.append(START + data[at : following - 3])
    return b"".join(found)


def _h264_disposable(data: bytes, width: int) -> bool:
    slices = [
        data[at]
        for at in (prefixed_units(data, width) if width else units(data))
        if data[at] & 31 in H264_SLICES
    ]
    return bool(slices) and not any(each >> 5 & 3 for each in slices)


def _hevc_disposable(data: bytes, width: int, layers: int) -> bool:
    """A sub-layer non-reference picture of the highest layer."""
    found = False
    for at in prefixed_units(data, width) if width else units(data):
        kind = data[at] >> 1 & 63
        if kind >= 32:
            continue
        if kind > 14 or kind % 2 or at + 1 >= len(data) or data[at + 1] & 7 != layers:
            return False
        found = True
    return found


def _kinds(data: bytes, picture: int, place: int, shift: int) -> set[int]:
    """The coding types of the pictures in a sample: intra, predicted, bidirectional ..."""
    return {
        data[at + 1 + place] >> shift & (7 if shift == 3 else 3)
        for at in units(data)
        if data[at] == picture and at + 1 + place < len(data)
    }


def _has_recovery_point(data: bytes, at: int) -> bool:
    """Among the messages of an SEI unit."""
    while at + 2 < len(data) and data[at] != 0x80 and data[at : at + 3] != START:
        kind = size = 0
        while at < len(data) and data[at] == 0xFF:
            kind, at = kind + 255, at + 1
        if at >= len(data):
            return False
        kind, at = kind + data[at], at + 1
        while at < len(data) and data[at] == 0xFF:
            size, at = size + 255, at + 1
        if at >= len(data):
            return False
        size, at = size + data[at], at + 1
        if kind == RECOVERY_POINT:
            return True
        at += size
    return False
