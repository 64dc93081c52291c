"""WebVTT thumbnails, in the subset that the parsers of all players read the same way.

LF and no byte order mark, no identifiers, notes or settings, a blank line after each cue, two-digit hours,
whole pixels, each cue ending where the next begins, the first beginning at 0, and the last one reaching past
the end of the video. Sheets are named relative to this file.

Sources: W3C Media Fragments (#xywh), the WebVTT specification, and the parsers of Plyr, Vidstack, Shaka,
ArtPlayer, media-chrome, videojs-vtt-thumbnails and TXImageSprite.
"""

from __future__ import annotations

import math
from urllib.parse import quote

from lib.errors import Invalid
from lib.sprites.manifest import Manifest, Tile

CONTENT_TYPE = "text/vtt; charset=utf-8"
LATEST = 100 * 3_600_000 - 1
"""Milliseconds: players read two digits of hours."""


def render(manifest: Manifest) -> str:
    """Raises Invalid for a manifest without tiles: players fail on an index without cues."""
    cues: dict[int, Tile] = {}
    for tile in manifest.tiles:
        start = round(tile.instant * 1000)
        if start < LATEST:
            cues.setdefault(start, tile)
    if not cues:
        raise Invalid(field="tiles", problem="there are none; a WebVTT index needs one at least")
    starts = sorted(cues)
    starts[0] = 0
    ends = [*starts[1:], _last_end(manifest)]
    blocks = ["WEBVTT\n"]
    for start, end, tile in zip(starts, ends, cues.values(), strict=True):
        name = quote(manifest.sheets[tile.sheet].name, safe="")
        place = f"{tile.x},{tile.y},{tile.width},{tile.height}"
        blocks.append(f"{_clock(start)} --> {_clock(end)}\n{name}#xywh={place}\n")
    return "\n".join(blocks)


def _last_end(manifest: Manifest) -> int:
    """The end of the last slot, and a second more than the video has: seek bars reach a little further."""
    tiles = manifest.tiles
    step = tiles[1].instant - tiles[0].instant if len(tiles) > 1 else 0.0
    after = math.ceil(manifest.source.duration) + 1
    return min(LATEST, max(round((tiles[-1].instant + step) * 1000), after * 1000))


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{rest:03}"
