"""Where the key frames of a Matroska file begin: its cues, or the heads of its clusters where it has none."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from lib.sprites.indexes import NoIndex
from lib.sprites.indexes.ebml import NUMBER, Source, element
from lib.sprites.indexes.matroska_blocks import (
    BLOCK_GROUP,
    CLUSTER,
    IN_CLUSTERS,
    SIMPLE_BLOCK,
    read_block,
    read_cluster,
)

CUES, POINT, TIME, POSITIONS = 0x1C53BB6B, 0xBB, 0xB3, 0xB7
TRACK, CLUSTER_POSITION, RELATIVE_POSITION = 0xF7, 0xF1, 0xF0
AHEAD = 4096
"""Bytes read at the head of a cluster."""
LARGEST_CLUSTER = 16 << 20
"""Bytes: it is to be some five million (RFC 9559, 5.1.3)."""
MAX_CLUSTERS = 512
"""Heads of clusters that are read one after the other."""


@dataclass
class Cues:
    """Key frames by presentation time, in ticks of the file's clock."""

    times: array[int]
    clusters: array[int]
    """Where in the file the cluster of each begins."""
    offsets: array[int]
    """Where in it, from its content on, the block of each is; -1 if that is not told."""
    clusters_stop: int
    """Where the last cluster ends at the latest."""


def read_cues(data: bytes, track: int, segment: int, stop: int) -> Cues:
    """From the content of `Cues`; `segment` is where the content of the segment begins."""
    found: dict[int, tuple[int, int]] = {}
    for name, start, end in _fields(data, 0, len(data)):
        if name != POINT:
            continue
        time = -1
        for inner, first, last in _fields(data, start, end):
            if inner == TIME:
                time = _number(data, first, last)
            elif inner == POSITIONS:
                told = {
                    each: _number(data, at, to) for each, at, to in _fields(data, first, last) if to - at <= 8
                }
                if told.get(TRACK) == track and time >= 0 and CLUSTER_POSITION in told:
                    place = segment + told[CLUSTER_POSITION]
                    found.setdefault(time, (place, told.get(RELATIVE_POSITION, -1)))
    if any(place + max(offset, 0) >= stop for place, offset in found.values()):
        raise NoIndex("A cue points beyond the end of the file.")
    return _sorted(found, stop)


def _fields(data: bytes, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Name, beginning and end of the content of each element: a long video has some hundred thousand, most of
    them short, with short names."""
    while at < stop:
        size = data[at + 1] if at + 1 < stop else 0
        if data[at] & 0x80 and 0x80 <= size < 0xFF:
            body = at + 2
            end = body + size - 0x80
            if end > stop:
                raise NoIndex("An element does not fit into what is around it.")
            yield data[at], body, end
            at = end
        else:
            found = element(data, at, stop)
            if found is None:
                raise NoIndex("An element is cut off.")
            yield found.id, found.body, found.stop
            at = found.stop


def _number(data: bytes, start: int, stop: int) -> int:
    value = int.from_bytes(data[start:stop], "big")
    if value >= NUMBER:
        raise NoIndex("A number is too large to be true.")
    return value


def walk_clusters(source: Source, start: int, stop: int, track: int) -> Cues:
    """Key frames near the heads of the clusters, from this one on: where clusters begin by them, that is
    all that are of use. Raises NoIndex where they do not, and where there are too many clusters."""
    found: dict[int, tuple[int, int]] = {}
    clusters = headed = read = 0
    at = start
    while at < stop:
        clusters += 1
        read += AHEAD
        if clusters > MAX_CLUSTERS or read > max(AHEAD, source.size // 2):
            raise NoIndex("There are no cues, and too many clusters to look at each.")
        data = source.ahead(at, AHEAD)
        following = element(data, 0, stop - at)
        if following is None or following.id != CLUSTER:
            if following is None or not following.sized or following.stop <= 0:
                break
            at += following.stop
            continue
        cluster = read_cluster(data, 0, stop - at)
        if not cluster.sized or cluster.stop > LARGEST_CLUSTER:
            raise NoIndex("There are no cues, and the clusters do not tell their sizes, or are huge.")
        place = cluster.blocks
        while place < cluster.stop and (each := element(data, place, cluster.stop)) is not None:
            if each.id not in IN_CLUSTERS:
                raise NoIndex("There is something in a cluster that does not belong there.")
            block = read_block(data, each) if each.id in (SIMPLE_BLOCK, BLOCK_GROUP) else None
            if block is not None and block.track == track and block.key:
                found.setdefault(cluster.time + block.time, (at, place - cluster.body))
            place = each.stop
        headed += any(value[0] == at for value in list(found.values())[-1:])
        at += cluster.stop
    if headed * 2 < clusters:
        raise NoIndex("There are no cues, and the clusters do not begin by key frames.")
    return _sorted(found, stop)


def _sorted(found: dict[int, tuple[int, int]], stop: int) -> Cues:
    if not found:
        raise NoIndex("There are no cues of the video track.")
    times = sorted(found)
    if not -NUMBER < times[0] <= times[-1] < NUMBER:
        raise NoIndex("The times of the cues are not possible.")
    return Cues(
        array("q", times),
        array("q", (found[time][0] for time in times)),
        array("q", (found[time][1] for time in times)),
        stop,
    )
