"""Ready-to-paste configurations for players that read no index of thumbnails.

They are JavaScript; names and URLs in them are escaped for it and for a `<script>` of an HTML page around it.

xgplayer reckons with one whole number of seconds between two tiles, the rounded duration / pic_num: pic_num is
chosen so that the largest error is smallest, and the comment tells what remains. The thumbnails option of
DPlayer takes one row of 100 pictures of 160 px, wider than a sheet may be; the one of ArtPlayer takes one sheet
and never shows the first picture of a row: for these two there is a plugin of a few lines instead.

Sources: xgplayer 3.0 (plugins/common/thumbnail.js), DPlayer 1.27 (thumbnails.js, controller.js), ArtPlayer 5.4
(thumbnailsMix), videojs-sprite-thumbnails 2.2.
"""

from __future__ import annotations

import json
import math
from typing import Any

from lib.sprites.documents import grid as grids
from lib.sprites.documents.addresses import Address, checked, relative
from lib.sprites.documents.grid import Grid
from lib.sprites.manifest import Manifest

CONTENT_TYPE = "text/markdown; charset=utf-8"

_XGPLAYER = """\
// xgplayer: an option of new Player({{...}}). {note}
thumbnail: {option}
"""
_VIDEOJS = """\
// Video.js with videojs-sprite-thumbnails.
player.spriteThumbnails({option});
"""
_SPRITE = """\
  const sprite = {sprite};
  const tileAt = (time) => {{
    const cells = sprite.columns * sprite.rows;
    const index = Math.min(Math.max(Math.floor(time / sprite.step + 1e-6), 0), sprite.count - 1);
    const cell = index % cells;
    return {{
      url: sprite.urls[Math.floor(index / cells)],
      x: (cell % sprite.columns) * sprite.width,
      y: Math.floor(cell / sprite.columns) * sprite.height,
    }};
  }};
  const draw = (element, time) => {{
    const tile = tileAt(time);
    element.style.width = sprite.width + "px";
    element.style.height = sprite.height + "px";
    element.style.backgroundImage = 'url("' + tile.url + '")';
    element.style.backgroundPosition = -tile.x + "px " + -tile.y + "px";
  }};
"""
_DPLAYER = (
    """\
// DPlayer: after const dp = new DPlayer({{...}}), without the option video.thumbnails.
((dp) => {{
"""
    + _SPRITE
    + """\
  const box = dp.template.barPreview;
  dp.controller.thumbnails = {{
    resize() {{}},
    show() {{ box.style.display = "block"; }},
    hide() {{ box.style.display = "none"; }},
    move(position) {{
      const bar = dp.template.playedBarWrap.offsetWidth;
      draw(box, (position / bar) * dp.video.duration);
      box.style.top = 2 - sprite.height + "px";
      box.style.left = Math.min(Math.max(position - sprite.width / 2, -10), bar - sprite.width + 10) + "px";
    }},
  }};
}})(dp);
"""
)
_ARTPLAYER = (
    """\
// ArtPlayer: after const art = new Artplayer({{...}}), without the option thumbnails.
((art) => {{
"""
    + _SPRITE
    + """\
  art.controls.add({{
    name: "sprite-thumbnails",
    position: "top",
    index: 20,
    mounted(box) {{
      box.classList.add("art-control-thumbnails");
      art.on("setBar", (type, part) => {{
        if (type !== "hover") return;
        const bar = art.template.$progress.clientWidth;
        box.style.display = "flex";
        draw(box, part * art.duration);
        box.style.left = Math.min(Math.max(part * bar - sprite.width / 2, 0), bar - sprite.width) + "px";
      }});
    }},
  }});
}})(art);
"""
)


def render(manifest: Manifest, address: Address = relative) -> dict[str, str]:
    """The configuration of each player, by its name. Raises Invalid for tiles that are not on a grid.

    A page resolves relative URLs against itself: give absolute ones, unless the sheets lie beside the page.
    """
    grid = grids.of(manifest)
    urls = [checked(address, sheet.name) for sheet in manifest.sheets]
    size = {"width": grid.width, "height": grid.height}
    pictures, error = xgplayer(grid, manifest.source.duration)
    note = (
        f"It shows the tile of a time at most {error:.3f} s away." if error else "It shows the right tiles."
    )
    layout = {"row": grid.rows, "col": grid.columns}
    sprites = {"columns": grid.columns, "rows": grid.rows}
    step = float(grid.step)
    sprite = _script({"urls": urls, "step": step, "count": grid.count} | sprites | size)
    return {
        "xgplayer": _XGPLAYER.format(
            note=note, option=_script({"urls": urls, "pic_num": pictures} | layout | size)
        ),
        "DPlayer": _DPLAYER.format(sprite=sprite),
        "ArtPlayer": _ARTPLAYER.format(sprite=sprite),
        "videojs-sprite-thumbnails": _VIDEOJS.format(
            option=_script({"urlArray": urls, "interval": step} | sprites | size)
        ),
    }


def page(manifest: Manifest, address: Address = relative) -> str:
    """All of them in one Markdown file."""
    blocks = (f"## {player}\n\n```js\n{text}```\n" for player, text in render(manifest, address).items())
    return "\n".join(["# Previews in players\n", *blocks])


def xgplayer(grid: Grid, duration: float) -> tuple[int, float]:
    """The best `pic_num`, and the error that is left.

    The error is the largest distance (seconds) between the instants of the tile that is shown and of the one
    that should be. The very instant at which a tile begins still shows the one before; that is not counted.
    """
    step = float(grid.step)
    wanted = {grid.count, grid.count - 1, 1}
    for interval in {math.floor(step), math.ceil(step)} - {0}:
        wanted |= {math.ceil(duration / interval), math.floor(duration / (interval - 0.5))}
    choices = {min(max(number, 1), grid.count) for number in wanted}
    errors = {number: _errors(grid, duration, number) for number in choices}
    best = min(sorted(choices), key=lambda number: errors[number])
    return best, errors[best][0]


def _errors(grid: Grid, duration: float, pictures: int) -> tuple[float, float, float]:
    """The largest error, the mean one, and how near the rounding is to another number of seconds."""
    step = float(grid.step)
    interval = math.floor(duration / pictures + 0.5)
    far = abs(duration / pictures - interval)
    last = min(pictures, math.ceil(duration / interval) if interval else 1) - 1
    errors = []
    for shown in range(last + 1) if interval else [pictures - 1]:
        start, end = shown * interval, duration if shown == last else (shown + 1) * interval
        rights = (math.floor(start / step + 1e-6), math.ceil(end / step - 1e-6) - 1)
        errors += [abs(min(max(right, 0), grid.count - 1) - shown) * step for right in rights]
    return round(max(errors), 6), round(sum(errors) / len(errors), 6), far


def _script(value: dict[str, Any]) -> str:
    """JSON that is also a literal of JavaScript wherever HTML may hold a script."""
    text = json.dumps(value)
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
