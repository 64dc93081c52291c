"""Matroska as libavformat never writes it: clusters of many key frames, block groups, cues without places."""

from __future__ import annotations

import struct

from tests.unit.sprites.indexes.truth import Truth


def ebml(name: int, content: bytes | int | float) -> bytes:
    """An element; its size takes four bytes, a number eight."""
    if isinstance(content, int):
        content = content.to_bytes(8, "big")
    elif isinstance(content, float):
        content = struct.pack(">d", content)
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return head + (len(content) | 1 << 28).to_bytes(4, "big") + content


def encoding(algorithm: int, settings: bytes = b"") -> bytes:
    compression = ebml(0x5034, ebml(0x4254, algorithm) + ebml(0x4255, settings))
    return ebml(0x6D80, ebml(0x6240, ebml(0x5033, 0) + compression))


def mux(
    truth: Truth,
    codec: bytes,
    *,
    per_cluster: int = 1000,
    groups: bool = False,
    places: bool = True,
    cues: bool = True,
    sized: bool = True,
    strip: bytes = b"",
) -> bytes:
    """`places`: whether cues tell where in its cluster a key frame is; `strip`: what every frame begins with,
    left out."""
    track = ebml(0xD7, 1) + ebml(0x83, 1) + ebml(0x86, codec) + ebml(0x23E383, 40_000_000)
    track += ebml(0x63A2, truth.extradata) if truth.extradata else b""
    track += (encoding(3, strip) if strip else b"") + ebml(
        0xE0, ebml(0xB0, truth.size[0]) + ebml(0xBA, truth.size[1])
    )
    info = ebml(0x1549A966, ebml(0x2AD7B1, 1_000_000) + ebml(0x4489, float(truth.end * 1000)))
    before = info + ebml(0x1654AE6B, ebml(0xAE, track))
    seek_head_length = len(_seek_head(0)) if cues else 0
    clusters, points = b"", b""
    for start in range(0, len(truth.packets), per_cluster):
        packets = truth.packets[start : start + per_cluster]
        time = int(min(packet.time for packet in packets) * 1000)
        inside = ebml(0xE7, time)
        for packet in packets:
            when = int(packet.time * 1000)
            flags = 0x80 if packet.key and not groups else 0
            block = b"\x81" + struct.pack(">hB", when - time, flags) + packet.data.removeprefix(strip)
            if packet.key:
                place = ebml(0xF7, 1) + ebml(0xF1, seek_head_length + len(before) + len(clusters))
                place += ebml(0xF0, len(inside)) if places else b""
                points += ebml(0xBB, ebml(0xB3, when) + ebml(0xB7, place))
            if groups:
                inside += ebml(0xA0, ebml(0xA1, block) + (b"" if packet.key else ebml(0xFB, 1)))
            else:
                inside += ebml(0xA3, block)
        size = (len(inside) | 1 << 56).to_bytes(8, "big") if sized else b"\x01" + b"\xff" * 7
        clusters += b"\x1fC\xb6u" + size + inside
    body = before + clusters
    if cues:
        body = _seek_head(seek_head_length + len(body)) + body + ebml(0x1C53BB6B, points)
    head = ebml(0x1A45DFA3, ebml(0x4282, b"matroska"))
    return head + (ebml(0x18538067, body) if sized else b"\x18S\x80g\x01" + b"\xff" * 7 + body)


def _seek_head(cues: int) -> bytes:
    return ebml(0x114D9B74, ebml(0x4DBB, ebml(0x53AB, (0x1C53BB6B).to_bytes(4, "big")) + ebml(0x53AC, cues)))
