"""WebVTT thumbnails, in the subset that the parsers of all players read the same way.

LF and no byte order mark, no identifiers, notes or settings, a blank line after each cue, two-digit hours,
whole pixels, each cue ending where the next begins, the first beginning at 0, and the last one reaching past
the end of the video. Sheets are named relative to this file, or as `address` says.

Sources: W3C Media Fragments (#xywh), the WebVTT specification, and the parsers of Plyr, Vidstack, Shaka,
ArtPlayer, media-chrome, videojs-vtt-thumbnails and TXImageSprite.
"""

from __future__ import annotations

from lib.sprites.documents.addresses import Address, checked, relative
from lib.sprites.documents.slots import slots
from lib.sprites.manifest import Manifest

CONTENT_TYPE = "text/vtt; charset=utf-8"
LATEST = 100 * 3_600_000 - 1
"""Milliseconds: players read two digits of hours."""


def render(manifest: Manifest, address: Address = relative) -> str:
    """Raises Invalid for a manifest without tiles: players fail on an index without cues."""
    urls = [checked(address, sheet.name) for sheet in manifest.sheets]
    blocks = ["WEBVTT\n"]
    for slot in slots(manifest):
        if slot.start < LATEST:
            times = f"{_clock(slot.start)} --> {_clock(min(slot.end, LATEST))}"
            tile = slot.tile
            place = f"{tile.x},{tile.y},{tile.width},{tile.height}"
            blocks.append(f"{times}\n{urls[tile.sheet]}#xywh={place}\n")
    return "\n".join(blocks)


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{rest:03}"
