"""Compressed frames that are fetched by their places in the file, near ones together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lib.sprites.indexes import ByteRange, Fetch, NoIndex, Sample

MAX_SIZE = 1 << 27
"""Bytes of one frame."""
NEAR = 64 * 1024
"""Bytes between two frames that are read rather than skipped."""
PIECE = 2 << 20
"""Bytes of frames that are fetched at once."""


class Place(NamedTuple):
    time: int
    position: int
    size: int
    key: bool
    disposable: bool


def check(position: int, size: int, file_size: int) -> None:
    if size > MAX_SIZE or position + size > file_size:
        raise NoIndex("A frame is too large, or reaches beyond the end of the file.")


def take(time: int, position: int, size: int, start: int, data: bytes) -> Sample | ByteRange:
    """The key frame at this place out of bytes from `start` on; or its range."""
    if start <= position and position + size <= start + len(data):
        return Sample(time, data[position - start : position - start + size], key=True)
    if start == position and len(data) != size:
        raise NoIndex("A key frame is cut off.")
    return position, position + size


def fetched(places: Iterable[Place], file_size: int, fetch: Fetch) -> Iterator[Sample]:
    """The frames at these places, in their order; a few megabytes are fetched at a time."""
    piece: list[Place] = []
    total = 0
    for place in places:
        check(place.position, place.size, file_size)
        if piece and total + place.size > PIECE:
            yield from _piece(piece, fetch)
            piece, total = [], 0
        if place.size:
            piece.append(place)
            total += place.size
    if piece:
        yield from _piece(piece, fetch)


def _piece(places: list[Place], fetch: Fetch) -> Iterator[Sample]:
    ranges: list[list[int]] = []
    for start, stop in sorted((place.position, place.position + place.size) for place in places):
        if ranges and start <= ranges[-1][1] + NEAR:
            ranges[-1][1] = max(ranges[-1][1], stop)
        else:
            ranges.append([start, stop])
    starts = [start for start, _ in ranges]
    parts = fetch([(start, stop) for start, stop in ranges])
    for place in places:
        part = bisect_right(starts, place.position) - 1
        at = place.position - starts[part]
        data = parts[part][at : at + place.size]
        if len(data) < place.size:
            raise NoIndex("A frame is cut off.")
        yield Sample(place.time, data, place.key, place.disposable)
