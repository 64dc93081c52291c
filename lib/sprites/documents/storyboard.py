"""Storyboard JSON, in two forms that players tell apart by the outermost bracket.

One sheet, the storyboard of Mux:
    {"url": ..., "tile_width": 142, "tile_height": 80, "duration": 95.0, "tiles": [{"start": 0, "x": 0, "y": 0}]}
Several sheets, which that form cannot name, the thumbnail images of Vidstack:
    [{"url": ..., "startTime": 0, "endTime": 10, "width": 142, "height": 80, "coords": {"x": 0, "y": 0}}]

Vidstack takes the first form only with an absolute URL, resolves the second against the page, and reads both
only when they are served as `application/json` without parameters: so addresses here are absolute ones.
"""

from __future__ import annotations

import json
from typing import Any

from lib.sprites.documents.addresses import Address, checked
from lib.sprites.documents.slots import Slot, slots
from lib.sprites.manifest import Manifest

CONTENT_TYPE = "application/json"


def render(manifest: Manifest, address: Address) -> str:
    """Times are seconds. Raises Invalid for a manifest without tiles."""
    urls = [checked(address, sheet.name) for sheet in manifest.sheets]
    shown = slots(manifest)
    storyboard = _one_sheet(manifest, urls[0], shown) if len(urls) == 1 else _several_sheets(urls, shown)
    return json.dumps(storyboard, separators=(",", ":"))


def _one_sheet(manifest: Manifest, url: str, shown: list[Slot]) -> dict[str, Any]:
    return {
        "url": url,
        "tile_width": shown[0].tile.width,
        "tile_height": shown[0].tile.height,
        "duration": manifest.source.duration,
        "tiles": [{"start": slot.start / 1000, "x": slot.tile.x, "y": slot.tile.y} for slot in shown],
    }


def _several_sheets(urls: list[str], shown: list[Slot]) -> list[dict[str, Any]]:
    return [
        {
            "url": urls[slot.tile.sheet],
            "startTime": slot.start / 1000,
            "endTime": slot.end / 1000,
            "width": slot.tile.width,
            "height": slot.tile.height,
            "coords": {"x": slot.tile.x, "y": slot.tile.y},
        }
        for slot in shown
    ]
