"""DASH thumbnails: an image AdaptationSet for an MPD, and an MPD that holds nothing else (DASH-IF IOP 6.2.6).

A segment is a sheet and lasts as long as a full one does: players divide it by the number of its cells. The
last of several sheets may be cropped to the rows that are used: places on it are right, counted in pixels, but
a page that stretches the picture to the `height` of the Representation shows it wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape

from lib.errors import Invalid
from lib.sprites.documents import grid as grids
from lib.sprites.documents.addresses import Address, checked, relative
from lib.sprites.manifest import Manifest

CONTENT_TYPE = "application/dash+xml"
SCHEME = "http://dashif.org/guidelines/thumbnail_tile"
MIME_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_LARGEST = 2**32 - 1
"""Of @duration and @timescale."""
_FINEST = 1_000_000
"""Ticks of a second that instants are rounded to."""


def render(manifest: Manifest, address: Address = relative, sizes: dict[str, int] | None = None) -> str:
    """An MPD with the thumbnails only, to be merged into the video's or read beside it. Raises as below."""
    duration = f"PT{max(manifest.source.duration, 0.001):.6f}S"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" minBufferTime="PT2S"'
        ' profiles="urn:mpeg:dash:profile:full:2011"'
        f' mediaPresentationDuration="{duration}">\n'
        f'<Period id="0" duration="{duration}">\n'
        f"{adaptation_set(manifest, address, sizes)}"
        "</Period>\n"
        "</MPD>\n"
    )


def adaptation_set(
    manifest: Manifest, address: Address = relative, sizes: dict[str, int] | None = None
) -> str:
    """`sizes`, the bytes of each sheet by name, make @bandwidth the true peak; it is an estimate without them.

    Raises Invalid for tiles off the grid, and for several sheets whose addresses do not differ by a counting
    number alone, as presigned ones: they need a SegmentList, in which dash.js reads no thumbnails and Shaka
    cuts the last segment short.
    """
    grid = grids.of(manifest)
    length = grid.step * grid.cells
    # The nearest fraction whose parts both fit.
    length = length.limit_denominator(min(_FINEST, math.floor(_LARGEST / max(float(length), 1))))
    ticks = f'duration="{length.numerator}" timescale="{length.denominator}"'
    urls = [checked(address, sheet.name) for sheet in manifest.sheets]
    media, first = _template(urls)
    mime_type = MIME_TYPES[str(manifest.definition.get("format", "jpg"))]
    size = f'width="{grid.columns * grid.width}" height="{grid.rows * grid.height}"'
    return (
        f'<AdaptationSet contentType="image" mimeType="{mime_type}">\n'
        f'<SegmentTemplate media="{escape(media)}" {ticks} startNumber="{first}"/>\n'
        f'<Representation id="thumbnails" bandwidth="{grids.bandwidth(manifest, grid, sizes)}" {size}>\n'
        f'<EssentialProperty schemeIdUri="{SCHEME}" value="{grid.columns}x{grid.rows}"/>\n'
        "</Representation>\n"
        "</AdaptationSet>\n"
    )


def _template(urls: Sequence[str]) -> tuple[str, int]:
    """A template that gives these URLs, and the number of the first."""
    for digits in reversed(list(re.finditer(r"0|[1-9][0-9]*", urls[0]))):
        before, after, first = urls[0][: digits.start()], urls[0][digits.end() :], int(digits[0])
        if first < _LARGEST and all(
            url == f"{before}{first + number}{after}" for number, url in enumerate(urls)
        ):
            return f"{_plain(before)}$Number${_plain(after)}", first
    if len(urls) > 1:
        raise Invalid(field="address", problem="does not count the sheets; DASH needs a number for each")
    return _plain(urls[0]), 1


def _plain(text: str) -> str:
    return text.replace("$", "$$")
