"""Clusters and the blocks in them: the frames of a Matroska file (RFC 9559, 5.1.3 and 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lib.sprites.indexes import NoIndex
from lib.sprites.indexes.ebml import Element, element, elements, number

CLUSTER, TIMESTAMP = 0x1F43B675, 0xE7
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK, DURATION, REFERENCE = 0xA3, 0xA0, 0xA1, 0x9B, 0xFB
IN_CLUSTERS = {SIMPLE_BLOCK, BLOCK_GROUP, TIMESTAMP, 0xA7, 0xAB, 0xAF, 0x5854, 0xEC, 0xBF}
"""All that may lie in a cluster: blocks, its own place and size, encrypted blocks, filling, checksums."""
IN_SEGMENTS = {
    CLUSTER,
    0x1C53BB6B,
    0x1254C367,
    0x1043A770,
    0x1941A469,
    0x114D9B74,
    0x1549A966,
    0x1654AE6B,
    0xEC,
    0xBF,
}
"""What may follow a cluster: one of unknown size ends there (where it is not filling or a checksum)."""
HEAD = 64
"""Bytes that hold the head of a cluster, with its time."""
LACING, KEY = 0x06, 0x80
BEGINNING = 32
"""Bytes that tell what a block is, and more."""


class Block(NamedTuple):
    track: int
    time: int
    """After the time of its cluster."""
    key: bool
    body: int
    stop: int
    lasts: int
    """As a block group says; 0 if it does not."""


def read_block(data: bytes, found: Element) -> Block | None:
    """The block in an element of a cluster; None if there is none, or not enough of it is at hand."""
    if found.id == SIMPLE_BLOCK:
        return _block(data, found, None, 0)
    if found.id != BLOCK_GROUP or found.stop > len(data):
        return None
    children = {each.id: each for each in elements(data, found.body, found.stop)}
    if BLOCK not in children:
        return None
    lasts = number(data, children[DURATION]) if DURATION in children else 0
    return _block(data, children[BLOCK], REFERENCE not in children, lasts)


def track_and_time(data: bytes, found: Element) -> tuple[int, int] | None:
    """Of a block whose group may be cut off; None if that is not at hand."""
    place: Element | None = found
    while place is not None and place.id == BLOCK_GROUP:
        inner = element(data, place.body, place.stop)
        while inner is not None and inner.id != BLOCK and inner.stop < place.stop:
            inner = element(data, inner.stop, place.stop)
        place = inner
    if place is None or place.id not in (SIMPLE_BLOCK, BLOCK) or place.body + 8 > len(data):
        return None
    track, at = _track(data, place)
    return track, int.from_bytes(data[at : at + 2], "big", signed=True)


def _track(data: bytes, found: Element) -> tuple[int, int]:
    width = 9 - data[found.body].bit_length()
    if width > 4 or found.body + width + 3 > found.stop:
        raise NoIndex("A block does not tell its track.")
    place = found.body + width
    return int.from_bytes(data[found.body : place], "big") & (1 << 7 * width) - 1, place


def _block(data: bytes, found: Element, key: bool | None, lasts: int) -> Block | None:
    if found.body + 8 > min(len(data), found.stop) and found.stop > len(data):
        return None
    if found.body >= found.stop:
        raise NoIndex("A block is empty.")
    track, place = _track(data, found)
    flags = data[place + 2]
    return Block(
        track,
        int.from_bytes(data[place : place + 2], "big", signed=True),
        bool(flags & KEY) if key is None else key,
        place + 3 if not flags & LACING else -1,
        found.stop,
        lasts,
    )


class Cluster(NamedTuple):
    start: int
    body: int
    stop: int
    sized: bool
    time: int
    blocks: int
    """Where its elements go on after its time."""


def read_cluster(data: bytes, at: int, limit: int) -> Cluster:
    """The cluster that begins here. Raises NoIndex if it does not, or if its time is not at hand."""
    found = element(data, at, limit)
    if found is None or found.id != CLUSTER:
        raise NoIndex("There is no cluster where one should be.")
    place = found.body
    for _ in range(8):
        inner = element(data, place, found.stop)
        if inner is None or inner.id not in IN_CLUSTERS:
            break
        if inner.id == TIMESTAMP:
            time = number(data, inner)
            return Cluster(at, found.body, found.stop, found.sized, time, inner.stop)
        place = inner.stop
    raise NoIndex("A cluster does not begin by its time.")


def chain(data: bytes, known: set[int]) -> Iterator[Element]:
    """The elements at the end of a cluster, of which `data` are the last bytes, from the first that leads
    from one to the next up to the very end; `known` are the tracks that there are."""
    for start in range(len(data)):
        if data[start] not in (SIMPLE_BLOCK, BLOCK_GROUP):
            continue
        try:
            found = list(elements(data, start, len(data)))
            if all(_belongs(data, each, known) for each in found):
                yield from found
                return
        except NoIndex:
            continue


def _belongs(data: bytes, found: Element, known: set[int]) -> bool:
    if found.id not in (SIMPLE_BLOCK, BLOCK_GROUP):
        return found.id in IN_CLUSTERS and found.sized
    told = track_and_time(data, found)
    return told is not None and told[0] in known
