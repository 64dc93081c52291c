"""HLS image media playlist: a segment is a sheet (Image Media Playlist for HLS, version 0.4).

`EXT-X-TILES` gives every sheet the layout of a full one, the cropped last sheet too: players end with its
EXTINF, so they never come to the missing rows, and Shaka works out the places on all sheets from the size of
the first. The last EXTINF holds the whole slot of the last tile, because sound may outlast the pictures.
"""

from __future__ import annotations

import math
from fractions import Fraction

from lib.sprites.documents import grid as grids
from lib.sprites.documents.addresses import Address, checked, relative
from lib.sprites.manifest import Manifest

CONTENT_TYPE = "application/vnd.apple.mpegurl"
CODECS = {"jpg": "jpeg", "png": "png", "webp": "webp"}


def render(manifest: Manifest, address: Address = relative) -> str:
    """The media playlist. Raises Invalid for tiles that are not on a grid."""
    grid = grids.of(manifest)
    length, left = grid.step * grid.cells, grid.end
    # From rounded times, so that the sum of many sheets stays true; the specification asks for no more than
    # a number, and RFC 8216, section 4.3.3.1, for a target that no rounded duration exceeds.
    target = math.ceil(min(length, left))
    tiles = f"RESOLUTION={grid.width}x{grid.height},LAYOUT={grid.columns}x{grid.rows}"
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-IMAGES-ONLY",
    ]
    start = Fraction(0)
    for sheet in manifest.sheets:
        end = min(start + length, grid.end)
        lines += [
            f"#EXTINF:{_seconds(_rounded(end) - _rounded(start))},",
            f"#EXT-X-TILES:{tiles},DURATION={_seconds(grid.step)}",
            checked(address, sheet.name),
        ]
        start = end
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def stream_inf(manifest: Manifest, uri: str, sizes: dict[str, int] | None = None) -> str:
    """The line of a master playlist that names the media playlist at this URI.

    `sizes`, the bytes of each sheet by name, make BANDWIDTH the true peak; it is an estimate without them.
    """
    grid = grids.of(manifest)
    codec = CODECS[str(manifest.definition.get("format", "jpg"))]
    bits = grids.bandwidth(manifest, grid, sizes)
    return (
        f"#EXT-X-IMAGE-STREAM-INF:BANDWIDTH={bits},RESOLUTION={grid.width}x{grid.height},"
        f'CODECS="{codec}",URI="{checked(lambda _: uri, uri)}"'
    )


def _rounded(seconds: Fraction) -> Fraction:
    return round(seconds, 6)


def _seconds(value: Fraction) -> str:
    """Decimal, six digits at most and three at least."""
    whole, digits = f"{float(value):.6f}".split(".")
    return f"{whole}.{digits.rstrip('0').ljust(3, '0')}"
