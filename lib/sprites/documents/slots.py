"""Slots: the times for which each tile stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lib.errors import Invalid
from lib.sprites.manifest import Manifest, Tile


@dataclass(frozen=True)
class Slot:
    start: int
    """Milliseconds; so is the end, where the next slot starts."""
    end: int
    tile: Tile


def slots(manifest: Manifest) -> list[Slot]:
    """One for each tile, except those less than a millisecond after another, which no player can tell apart.

    The first starts at 0. The last ends with its step and at least a second after the end of the video: seek
    bars reach a little further. Raises Invalid for a manifest without tiles.
    """
    starts: dict[int, Tile] = {}
    for tile in manifest.tiles:
        starts.setdefault(round(tile.instant * 1000), tile)
    if not starts:
        raise Invalid(field="tiles", problem="there are none; a document needs one at least")
    times = sorted(starts)
    times[0] = 0
    ends = [*times[1:], _last_end(manifest)]
    return [Slot(*each) for each in zip(times, ends, starts.values(), strict=True)]


def _last_end(manifest: Manifest) -> int:
    tiles = manifest.tiles
    step = tiles[1].instant - tiles[0].instant if len(tiles) > 1 else 0.0
    after = math.ceil(manifest.source.duration) + 1
    return max(round((tiles[-1].instant + step) * 1000), after * 1000)
