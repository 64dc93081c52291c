"""When the clock of a Matroska file starts, and when its last picture ends."""

from __future__ import annotations

from collections.abc import Iterator

from lib.sprites.indexes import NoIndex
from lib.sprites.indexes.ebml import Element, Source, element, elements
from lib.sprites.indexes.matroska_blocks import (
    BLOCK_GROUP,
    CLUSTER,
    HEAD,
    IN_CLUSTERS,
    SIMPLE_BLOCK,
    Cluster,
    chain,
    read_block,
    read_cluster,
    track_and_time,
)

OPENING = 64 * 1024
"""Bytes of the first cluster that are looked at at once."""
MAX_JUMPS = 4
"""Large frames that are jumped over there."""
TAIL = 64 * 1024
"""Bytes of the end that are looked at first, then four times as many."""
MAX_TAIL = 4 << 20
MAX_CLUSTERS = 64
"""Clusters after the last key frame."""
ENOUGH = 4
"""Frames at the end among which is the one that is shown last."""


def player_zero(source: Source, place: int, stop: int, delays: dict[int, int], second: int) -> int:
    """The first time of the tracks that are played (`delays`: their times are so late), never before 0."""
    first: dict[int, int] = {}
    data = source.ahead(place, OPENING)
    cluster = read_cluster(data, 0, stop - place)
    base, at = place, place + cluster.blocks
    for _ in range(MAX_JUMPS):
        while at < place + cluster.stop and (each := element(data, at - base, stop - base)) is not None:
            told = track_and_time(data, each) if each.id in (SIMPLE_BLOCK, BLOCK_GROUP) else (0, 0)
            if told is None or each.id not in IN_CLUSTERS:
                break
            time = cluster.time + told[1]
            if told[0] in delays:
                first.setdefault(told[0], time - delays[told[0]])
            if len(first) == len(delays) or (first and told[0] and time > min(first.values()) + second):
                return max(0, min(first.values()))
            at = base + each.stop
        if at >= min(place + cluster.stop, source.size) or at == base:
            break
        base, data = at, source.ahead(at, OPENING)
    if not first:
        raise NoIndex("The first cluster holds nothing that is played.")
    return max(0, min(first.values()))


def video_end(
    source: Source, last_key: int, stop: int, track: int, known: set[int], lasts: int
) -> int | None:
    """When the last frame of the track ends, in ticks of the file's clock; None if that is not found soon.

    `last_key`: the cluster of the last key frame; `stop`: where the clusters end at the latest; `lasts`:
    ticks that a frame lasts that does not say, 0 if not known.
    """
    clusters = _clusters(source, last_key, stop)
    if clusters is None:
        return None
    times: dict[int, int] = {}
    for cluster in reversed(clusters):
        for block_time, block_lasts in _last_blocks(source, cluster, track, known):
            times[cluster.time + block_time] = block_lasts
        if len(times) >= ENOUGH:
            break
    if not times:
        return None
    last = max(times)
    gaps = [after - before for before, after in zip(sorted(times), sorted(times)[1:], strict=False)]
    return last + (times[last] or lasts or min(gaps, default=0))


def _clusters(source: Source, at: int, stop: int) -> list[Cluster] | None:
    found: list[Cluster] = []
    while at < stop and len(found) < MAX_CLUSTERS:
        data = source.ahead(at, HEAD)
        each = element(data, 0, stop - at)
        if each is None or not each.sized:
            return None
        if each.id == CLUSTER:
            cluster = read_cluster(data, 0, stop - at)
            found.append(
                cluster._replace(
                    start=at, body=cluster.body + at, stop=cluster.stop + at, blocks=cluster.blocks + at
                )
            )
        at += each.stop
    return found if at >= stop else None


def _last_blocks(source: Source, cluster: Cluster, track: int, known: set[int]) -> list[tuple[int, int]]:
    """Times within the cluster of its last frames, and how long they last (0: not told)."""
    length = TAIL
    while True:
        start = max(cluster.blocks, cluster.stop - length)
        data = source.read(start, cluster.stop)
        whole = start == cluster.blocks
        found = elements(data, 0, len(data)) if whole else chain(data, known)
        blocks = list(_blocks(data, found, track))
        if whole or len(blocks) >= ENOUGH or length >= MAX_TAIL:
            return blocks
        length *= 4


def _blocks(data: bytes, found: Iterator[Element], track: int) -> Iterator[tuple[int, int]]:
    for each in found:
        block = read_block(data, each)
        if block is not None and block.track == track:
            yield block.time, block.lasts
