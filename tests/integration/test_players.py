"""The documents in the hands of those who read them: the players' own code, under node.

For many times of each sprite, every player must show the tile whose slot holds the time: the picture, and the
place on it. The players are npm packages, pinned in players/package-lock.json and installed once; players/play.cjs
drives them in a window of jsdom.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lib.sprites import Manifest
from lib.sprites.documents import dash, grid, hls, snippets, storyboard, webvtt
from lib.sprites.documents.addresses import Address, relative
from tests.unit.sprites.documents.sprites import define, sprite

HERE = Path(__file__).parent / "players"
CACHE = Path(__file__).parents[2] / "var" / "players"
TRUE_TO_ANY_TIME = (
    "media-captions",
    "videojs-vtt.js",
    "Plyr",
    "vidstack (VTT)",
    "vidstack (storyboard)",
    "Shaka (VTT)",
    "Shaka (HLS)",
    "Shaka (DASH)",
    "dash.js",
    "ArtPlayer",
    "DPlayer",
    "videojs-sprite-thumbnails",
)
TRUE_TO_WHOLE_SECONDS = ("videojs-vtt-thumbnails", "artplayer-plugin-vtt-thumbnail")
"""They cut the times of cues down to seconds."""
SEEN = 40
"""Tiles looked at of one sprite."""


@dataclass(frozen=True)
class Case:
    manifest: Manifest
    signed: bool = False

    @property
    def address(self) -> Address:
        """Presigned URLs differ in more than a number."""
        if not self.signed:
            return relative
        return lambda name: f"BASE/{relative(name)}?sign={hashlib.md5(name.encode()).hexdigest()}&a=b%2Fc"

    @property
    def players(self) -> tuple[str, ...]:
        """DASH counts its segments, and presigned sheets cannot be counted."""
        every = (*TRUE_TO_ANY_TIME, *TRUE_TO_WHOLE_SECONDS, "xgplayer")
        return tuple(name for name in every if not (self.signed and name in ("dash.js", "Shaka (DASH)")))

    def looks(self) -> list[tuple[float, int]]:
        """Times, and the tile whose slot holds each: all over the slots, near to their ends too."""
        tiles, duration = self.manifest.tiles, self.manifest.source.duration
        count = len(tiles)
        near_sheet_ends = {sheet for first in range(0, count, 100) for sheet in (first - 1, first)}
        wanted = {*range(0, count, -(-count // SEEN)), *near_sheet_ends, count - 2, count - 1}
        found = []
        for index in sorted(wanted & set(range(count))):
            start = tiles[index].instant
            end = tiles[index + 1].instant if index + 1 < count else duration
            found += [(start + part * (end - start), index) for part in (0.02, 0.5, 0.98) if end > start]
        return found

    def place(self, index: int) -> list[Any]:
        tile = self.manifest.tiles[index]
        return [self.address(self.manifest.sheets[tile.sheet].name).removeprefix("BASE/"), tile.x, tile.y]

    def given(self) -> dict[str, Any]:
        """What play.cjs gets; BASE/ becomes the folder of the case on its server."""
        made, address, duration = self.manifest, self.address, self.manifest.source.duration
        video = (
            '<AdaptationSet contentType="video" mimeType="video/mp4" codecs="avc1.4d401e">'
            '<SegmentTemplate media="v$Number$.mp4" initialization="i.mp4" duration="4"/>'
            '<Representation id="v" bandwidth="100000" width="640" height="360"/></AdaptationSet>'
        )
        video_list = (
            f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{math.ceil(duration)}\n#EXT-X-PLAYLIST-TYPE:VOD\n"
            f'#EXT-X-MAP:URI="i.mp4"\n#EXTINF:{duration:.6f},\nv.mp4\n#EXT-X-ENDLIST\n'
        )
        master = (
            '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-STREAM-INF:BANDWIDTH=1000000,RESOLUTION=640x360,CODECS="avc1.4d401e"\n'
            f"video.m3u8\n{hls.stream_inf(made, 'thumbnails.m3u8')}\n"
        )
        return {
            "files": {
                "thumbnails.vtt": webvtt.render(made, address),
                "storyboard.json": storyboard.render(
                    made, address if self.signed else lambda name: f"BASE/{relative(name)}"
                ),
                "thumbnails.m3u8": hls.render(made, address),
                "master.m3u8": master,
                "video.m3u8": video_list,
                "video.mpd": dash.render(made).replace("<AdaptationSet", f"{video}\n<AdaptationSet", 1),
            },
            "snippets": snippets.render(made, address),
            "duration": duration,
            "times": [time for time, _ in self.looks()],
            "players": self.players,
        }


CASES = {
    "cropped last sheet": Case(sprite(define(), 1234.5)),
    "one sheet": Case(sprite(define(), 95)),
    "one tile": Case(sprite(define(), 6.25)),
    "fractional step": Case(sprite(define(interval=7.5), 777.7)),
    "less than a second": Case(sprite(define(interval=0.5), 120)),
    "percent": Case(sprite(define(sampling="percent", interval=1.5), 7777.777)),
    "thirds": Case(sprite(define(sampling="percent", interval=0.7, columns=7, rows=3), 3333.333333)),
    "3600 tiles": Case(sprite(define(), 35_990)),
    "odd names": Case(sprite(define(columns=3, rows=3, interval=2), 90, "视频 a'b\"c&<d>#$?{}.jpg")),
    "presigned": Case(sprite(define(interval=5), 1234.5), signed=True),
}


@pytest.fixture(scope="session")
def modules() -> Path:
    """The players, installed once for each package-lock.json."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.fail(
            "node (20 or newer) and npm are needed: the players run under node. Install both.", pytrace=False
        )
    sources = [HERE / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    ready = CACHE / digest / "node_modules"
    if not ready.exists():
        work = CACHE / f"{digest}.{os.getpid()}"
        work.mkdir(parents=True)
        for path in sources:
            shutil.copy(path, work)
        run = subprocess.run(
            [npm, "ci", "--prefer-offline"], cwd=work, capture_output=True, text=True, check=False
        )
        if run.returncode:
            shutil.rmtree(work)
            pytest.fail(f"npm ci could not install the players:\n{run.stderr}", pytrace=False)
        (CACHE / digest).mkdir(exist_ok=True)
        (work / "node_modules").rename(ready)
        shutil.rmtree(work)
    return ready


Answer = dict[str, Any]


def play(modules: Path, cases: list[Case]) -> list[Answer]:
    """What each player shows at each time of each case; a text is the error that it raised."""
    given = json.dumps([case.given() for case in cases])
    node = ["node", str(HERE / "play.cjs"), str(modules)]
    run = subprocess.run(node, input=given, capture_output=True, text=True, check=False, timeout=240)
    assert run.stdout, run.stderr
    answers: list[Answer] = json.loads(run.stdout)
    return answers


@pytest.fixture(scope="session")
def answers(modules: Path) -> dict[str, Answer]:
    return dict(zip(CASES, play(modules, list(CASES.values())), strict=True))


def check(case: Case, answer: Answer) -> None:
    assert tuple(answer) == case.players
    last = len(case.manifest.tiles) - 1
    for player, shown in answer.items():
        assert isinstance(shown, list), f"{player}: {shown}"
        far = reach(case, player)
        for (time, index), place in zip(case.looks(), shown, strict=True):
            allowed = [case.place(each) for each in range(max(0, index - far), min(last, index + far) + 1)]
            assert place in allowed, f"{player} shows {place} at {time}, where tile {index} is {allowed}"


def reach(case: Case, player: str) -> int:
    """How many tiles off a player may be: none, except where its own reckoning is known to be coarse."""
    step = float(grid.of(case.manifest).step)
    if player == "xgplayer":
        said = re.search(r"at most ([\d.]+) s away", snippets.render(case.manifest)["xgplayer"])
        return math.floor((float(said[1]) + 0.001) / step) if said else 0
    return math.floor((step + 1) / step) if player in TRUE_TO_WHOLE_SECONDS and step % 1 else 0


@pytest.mark.parametrize("name", CASES)
def test_players_show_the_tile_whose_slot_holds_the_time(name: str, answers: dict[str, Answer]) -> None:
    check(CASES[name], answers[name])


def test_they_do_so_for_sprites_of_all_kinds(modules: Path, share: Callable[[int, int], int]) -> None:
    chance = random.Random(20)
    cases = []
    for _ in range(share(60, 3)):
        layout = {"columns": chance.randint(1, 10), "rows": chance.randint(1, 10)}
        duration = round(chance.uniform(2, 8000), 6)
        if chance.random() < 0.5:
            definition = define(interval=chance.choice([1, 2, 3.3, 10, chance.uniform(0.4, 60)]), **layout)
        else:
            definition = define(sampling="percent", interval=round(chance.uniform(0.5, 100), 2), **layout)
        cases.append(Case(sprite(definition, duration)))
    for start in range(0, len(cases), 10):
        batch = cases[start : start + 10]
        for case, answer in zip(batch, play(modules, batch), strict=True):
            check(case, answer)


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    assert lock["packages"]
    assert not any("resolved" in package for package in lock["packages"].values())
