"""Pictures of a file whose key frames we find ourselves: only what is needed is fetched, and decoded side by side."""

from __future__ import annotations

import os
import queue
import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import chain
from typing import Any

from PIL import Image

from lib.sprites.containers import Container
from lib.sprites.decoder import answers
from lib.sprites.decoder.answers import doubting
from lib.sprites.decoder.client import Decoder
from lib.sprites.decoder.wire import pack
from lib.sprites.definition import Definition
from lib.sprites.indexes import NoIndex, Sample, Track
from lib.sprites.limits import Limits
from lib.sprites.pictures import Facts, Shown
from lib.sprites.plan import Plan, Size

PICTURES_HELD = 7
"""By a decoder, at most, while it decodes single key frames."""
FETCHERS = 8
"""Reads under way at once: enough to hide the way to the bucket behind decoding."""
LEAD = Fraction(1, 2)
"""Seconds before a wanted frame from which on no frame is skipped."""
SKIPPABLE = ("h264", "hevc", "mpeg2video", "mpeg4")
"""Codecs whose disposable samples may be left out. One of AV1 may hold frames that are shown later."""
TRIED = 4
"""Key frames that are tried for the first picture."""
STEPS_BACK = 8
"""Key frames that a run starts earlier, one by one, when it brings no picture in time."""

Numbers = dict[int, list[int]]
"""By the name of a key frame (a number, the same for all of `Indexing`): which instants it is for."""


class Indexing(ABC):
    """Raises NoIndex where the decoder cannot do without the demuxer, DecoderFailed, and what the reader raises."""

    def __init__(self, decoder: Decoder, track: Track, kind: Container, limits: Limits) -> None:
        self._decoder = decoder
        self._track = track
        self._tick = track.tick
        self._lanes = _lanes(track, limits)
        self._ready = False
        if track.width * track.height > limits.pixels:
            raise NoIndex("The pictures are too large.")  # the other way says so
        self._start(limits.pixels)
        shape = self._shape()
        end = track.end * self._tick
        with doubting():
            width, height = answers.size(shape["size"])
            self.facts = Facts(
                display=answers.size(shape["display"]),
                width=width,
                height=height,
                rotation=answers.rotation(shape["rotation"]),
                codec=track.codec,
                container=kind.name,
                end=end,
                data_end=end,
                truncated=False,
            )

    # -- what each way to find key frames does its own way

    @abstractmethod
    def _first_samples(self) -> Iterator[Sample]:
        """The first key frames that are shown."""

    @abstractmethod
    def _choose(
        self, instants: Sequence[Fraction], step: Fraction, definition: Definition
    ) -> tuple[Numbers, Numbers]:
        """The key frames that are shown alone, and those that runs towards exact frames begin with."""

    @abstractmethod
    def _work(self, keys: Sequence[int]) -> list[Any]:
        """The key frames, in pieces that are fetched together."""

    @abstractmethod
    def _samples(self, work: Any) -> Iterator[tuple[int, Sample]]:
        """The key frames of a piece."""

    @abstractmethod
    def _earlier(self, key: int) -> int | None:
        """The key frame before."""

    @abstractmethod
    def _first(self) -> int:
        """The first key frame of all."""

    @abstractmethod
    def _run(self, key: int, until: int) -> Iterator[Sample]:
        """The frames from this key frame on."""

    def show(self, instants: Sequence[Fraction], plan: Plan, definition: Definition) -> Iterator[Shown]:
        if not self._ready:
            self._decoder.ask({"do": "tile", "size": plan.tile, "fill": definition.fill})
            self._ready = True
        alone, runs = self._choose(instants, plan.step, definition)
        for key, found in self._key_frames(sorted(alone), plan.tile):
            if found is None:
                runs.setdefault(key, []).extend(alone[key])
                continue
            for number in alone[key]:
                yield Shown(number, *found)
        yield from self._forward(runs, [self._position(instant) for instant in instants], plan.tile)

    def _position(self, instant: Fraction) -> int:
        return int(instant / self._tick)

    # -- the decoder

    def _start(self, max_pixels: int) -> None:
        track = self._track
        colour = track.colour
        self._decoder.ask(
            {
                "do": "track",
                "codec": track.codec,
                "tick": pack(track.tick),
                "aspect": pack(track.pixel_aspect),
                "rotation": track.rotation,
                "mirrored": track.mirrored,
                "colour": colour and {"matrix": colour.matrix, "full_range": colour.full_range},
                "lanes": self._lanes,
                "max_pixels": max_pixels,
            },
            track.extradata,
        )
        head, _ = self._decoder.answer()
        if not head.get("ready"):
            raise NoIndex("The codec is not built in.")

    def _shape(self) -> dict[str, Any]:
        for tried, sample in enumerate(self._first_samples()):
            if tried == TRIED:
                break
            self._decoder.ask({"do": "shape", "id": tried, "lane": 0, "time": sample.time}, sample.data)
            head, _ = self._decoder.answer()
            if head.get("found"):
                return head
        raise NoIndex("The first key frames give no picture on their own.")

    # -- key frames alone

    def _key_frames(
        self, keys: Sequence[int], tile: Size
    ) -> Iterator[tuple[int, tuple[Fraction, Image.Image] | None]]:
        """(key, time and picture if it makes one), once for each key frame, in any order."""
        lanes = _Turns(self._lanes)

        def send(work: Any) -> None:
            for key, sample in self._samples(work):
                head = {"do": "key", "id": key, "lane": lanes.take(key), "time": sample.time}
                self._decoder.ask(head, sample.data)

        work = self._work(keys)
        for head, pixels in self._answers(send, work, self._fetchers(work), len(keys), end="found"):
            with doubting():
                key = head["id"]
                lanes.give_back(key)
                found = self._frame(head, pixels, tile) if head["found"] else None
            yield key, found

    def _frame(self, head: dict[str, Any], pixels: bytes, tile: Size) -> tuple[Fraction, Image.Image]:
        return answers.whole(head["time"]) * self._tick, answers.picture(head, pixels, tile)

    def _fetchers(self, work: list[Any]) -> int:
        """How many pieces of work may be in memory at once."""
        return FETCHERS

    # -- runs

    def _forward(self, runs: Numbers, positions: list[int], tile: Size) -> Iterator[Shown]:
        """The exact frames, decoded from a key frame on; from an earlier one where that brings none in time."""
        for _ in range(STEPS_BACK):
            missing: Numbers = {}
            for key, number, shown in self._runs(runs, positions, tile):
                if shown is not None:
                    yield shown
                else:
                    missing.setdefault(key, []).append(number)
            runs = {}
            for key, numbers in missing.items():
                if (earlier := self._earlier(key)) is not None:
                    runs.setdefault(earlier, []).extend(numbers)
            if not runs:
                return
        rest = {self._first(): list(chain.from_iterable(runs.values()))}
        for _, _, shown in self._runs(rest, positions, tile):
            if shown is not None:
                yield shown

    def _runs(
        self, runs: Numbers, positions: list[int], tile: Size
    ) -> Iterator[tuple[int, int, Shown | None]]:
        """(key, number of an instant, what is shown then or None), once for each instant."""
        missing = {key: sorted(numbers) for key, numbers in runs.items()}
        numbers = {key: list(each) for key, each in missing.items()}
        free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for lane in range(self._lanes):
            free.put(lane)

        def send(key: int) -> None:
            lane = free.get()  # a run has its lane to itself
            self._send_run(lane, key, [positions[number] for number in numbers[key]])
            free.put(lane)

        for head, pixels in self._answers(send, list(runs), self._lanes, len(runs), end="done"):
            with doubting():
                key = head["id"]
                if "done" in head:
                    ended, shown = missing.pop(key), None
                else:
                    number = numbers[key][answers.whole(head["number"])]
                    missing[key].remove(number)
                    ended, shown = [], Shown(number, *self._frame(head, pixels, tile))
            if shown is not None:
                yield key, shown.number, shown
            yield from ((key, number, None) for number in ended)

    def _send_run(self, lane: int, key: int, wanted: list[int]) -> None:
        first = key == self._first()
        self._decoder.ask({"do": "run", "id": key, "lane": lane, "wanted": wanted, "first": first})
        lead = int(LEAD / self._tick)
        skips = self._track.codec in SKIPPABLE
        for sample in self._run(key, wanted[-1]):
            if skips and sample.disposable and not _is_near(sample.time, wanted, lead):
                continue
            self._decoder.ask({"do": "sample", "lane": lane, "time": sample.time}, sample.data)
        self._decoder.ask({"do": "end", "lane": lane})

    # -- fetching beside answering

    def _answers(
        self, send: Callable[[Any], None], work: list[Any], senders: int, count: int, *, end: str
    ) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Sends all work from threads, and gives the answers as they come: so many that have the field `end`."""
        failures: list[BaseException] = []

        def guarded(item: Any) -> None:
            if failures:
                return
            try:
                send(item)
            except BaseException as error:  # noqa: BLE001 - raised where the answers are waited for
                failures.append(error)
                self._decoder.stop()

        with ThreadPoolExecutor(max(1, min(senders, len(work)))) as pool:
            left = count
            try:
                sent = [pool.submit(guarded, item) for item in work]
                while left:
                    head, pixels = self._decoder.answer(lambda: not all(each.done() for each in sent))
                    left -= end in head
                    yield head, pixels
            except BaseException as error:
                # Senders may be waiting for a child to which nobody listens any more.
                failures.append(error)
                self._decoder.stop()
                if isinstance(error, GeneratorExit):
                    raise
                raise failures[0] from None
        if failures:
            raise failures[0]


def is_near_enough(distance: Fraction, step: Fraction, definition: Definition) -> bool:
    """Whether a key frame so many seconds behind an instant may stand for it."""
    if definition.accuracy == "exact":
        return False
    if definition.accuracy == "keyframe":
        return True
    if definition.tolerance is not None:
        return abs(distance) <= Fraction(str(definition.tolerance))
    return -step / 2 <= distance < step / 2


def _lanes(track: Track, limits: Limits) -> int:
    """How many decoders fit into the budget: each may hold several pictures, of two bytes where ten bits are usual."""
    deep = track.codec not in ("h264", "mpeg2video", "mpeg4", "vp8", "mjpeg")
    picture = track.width * track.height * 3 // 2 * (2 if deep else 1)
    fit = limits.pictures // max(1, picture * PICTURES_HELD)
    return max(1, min(os.cpu_count() or 1, fit))


def _is_near(time: int, wanted: list[int], lead: int) -> bool:
    """Whether a frame of this time may be the one shown at a wanted time, or lies right before it."""
    place = bisect_right(wanted, time - 1)
    return place < len(wanted) and wanted[place] - time <= lead


class _Turns:
    """Which lane is the next: the one with the least to do."""

    def __init__(self, lanes: int) -> None:
        self._busy = [0] * lanes
        self._of: dict[int, int] = {}
        self._lock = threading.Lock()

    def take(self, job: int) -> int:
        with self._lock:
            lane = self._busy.index(min(self._busy))
            self._busy[lane] += 1
            self._of[job] = lane
            return lane

    def give_back(self, job: int) -> None:
        with self._lock:
            self._busy[self._of.pop(job)] -= 1
