"""Pictures of a file whose own index we read: only the frames that are needed are fetched, and decoded side by side."""

from __future__ import annotations

import os
import queue
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import chain
from typing import Any

from lib.sprites import containers
from lib.sprites.containers import Container
from lib.sprites.decoder.client import Decoder
from lib.sprites.decoder.wire import pack
from lib.sprites.definition import Definition
from lib.sprites.indexes import ByteRange, Index, NoIndex, Sample, Track, fragmented, matroska, mp4
from lib.sprites.limits import Limits
from lib.sprites.pictures import Facts, Shown
from lib.sprites.plan import Plan
from lib.sprites.reading import Reader
from lib.sprites.tiles import upright

PICTURES_HELD = 7
"""By a decoder, at most, while it decodes single key frames."""
FETCHERS = 8
"""Reads under way at once: enough to hide the way to the bucket behind decoding."""
NEAR = 64 * 1024
"""Bytes between two frames that are cheaper read than left out."""
TOGETHER = 2 << 20
"""Bytes at most of frames that are read together."""
LEAD = Fraction(1, 2)
"""Seconds before a wanted frame from which on no frame is skipped."""
SKIPPABLE = ("h264", "hevc", "mpeg2video", "mpeg4")
"""Codecs whose disposable samples may be left out. One of AV1 may hold frames that are shown later."""
TRIED = 4
"""Key frames that are tried for the first picture."""
STEPS_BACK = 8
"""Key frames that a run starts earlier, one by one, when it brings no picture in time."""


def open_index(kind: Container, reader: Reader, head: bytes) -> Index:
    """`head`: how the source begins. Raises NoIndex, and what the reader raises."""
    if kind in (containers.MP4, containers.QUICKTIME):
        return mp4.open(reader.read, reader.size, head)
    if kind == containers.FRAGMENTED:
        return fragmented.open(reader.read, reader.size, head)
    if kind in (containers.MATROSKA, containers.WEBM):
        return matroska.open(reader.read, reader.size, head)
    raise NoIndex("Containers of this kind have no index that is read here.")


def _lanes(track: Track, limits: Limits) -> int:
    """How many decoders fit into the budget: each may hold several pictures, of two bytes where ten bits are usual."""
    deep = track.codec not in ("h264", "mpeg2video", "mpeg4", "vp8", "mjpeg")
    picture = track.width * track.height * 3 // 2 * (2 if deep else 1)
    fit = limits.pictures // max(1, picture * PICTURES_HELD)
    return max(1, min(os.cpu_count() or 1, fit))


class Indexing:
    """Raises NoIndex where the decoder cannot do without the demuxer, DecoderFailed, and what the reader raises."""

    def __init__(
        self, decoder: Decoder, reader: Reader, index: Index, kind: Container, limits: Limits
    ) -> None:
        self._decoder = decoder
        self._reader = reader
        self._index = index
        self._lanes = _lanes(index.track, limits)
        self._tick = index.track.tick
        self._ready = False
        if index.track.width * index.track.height > limits.pixels:
            raise NoIndex("The pictures are too large.")  # the other way says so
        self._start(limits.pixels)
        shape = self._shape()
        end = index.track.end * self._tick
        self.facts = Facts(
            display=tuple(shape["display"]),
            width=index.track.width or shape["size"][0],
            height=index.track.height or shape["size"][1],
            rotation=shape["rotation"],
            codec=index.track.codec,
            container=kind.name,
            end=end,
            data_end=end,
            truncated=False,
        )

    def show(self, instants: Sequence[Fraction], plan: Plan, definition: Definition) -> Iterator[Shown]:
        if not self._ready:
            self._decoder.ask({"do": "tile", "size": plan.tile, "fill": definition.fill})
            self._ready = True
        positions = [int(instant / self._tick) for instant in instants]
        alone: dict[int, list[int]] = {}
        runs: dict[int, list[int]] = {}
        for number, instant in enumerate(instants):
            key = self._key_frame(instant, plan.step, definition)
            if key is None:
                runs.setdefault(self._before(positions[number]), []).append(number)
            else:
                alone.setdefault(key, []).append(number)
        for head, pixels in self._key_frames(sorted(alone)):
            key = head["id"]
            if not head["found"]:
                runs.setdefault(key, []).extend(alone[key])
                continue
            picture = upright(head, pixels)
            for number in alone[key]:
                yield Shown(number, head["time"] * self._tick, picture)
        yield from self._forward(runs, positions)

    # -- which frame

    def _key_frame(self, instant: Fraction, step: Fraction, definition: Definition) -> int | None:
        """The nearest key frame, if it is near enough."""
        if definition.accuracy == "exact":
            return None
        times, tick = self._index.times, self._tick
        after = bisect_right(times, int(instant / tick))
        near = [key for key in (after - 1, after) if 0 <= key < len(times) and times[key] >= 0]
        if not near:
            return None
        key = min(near, key=lambda each: abs(times[each] * tick - instant))
        distance = times[key] * tick - instant
        if definition.accuracy == "keyframe":
            return key
        if definition.tolerance is not None:
            return key if abs(distance) <= Fraction(str(definition.tolerance)) else None
        return key if -step / 2 <= distance < step / 2 else None

    def _before(self, position: int) -> int:
        """The last key frame that is shown at or before the position; the first one if there is none."""
        return max(0, bisect_right(self._index.times, position) - 1)

    # -- the decoder

    def _start(self, max_pixels: int) -> None:
        track = self._index.track
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
        if not head["ready"]:
            raise NoIndex("The codec is not built in.")

    def _shape(self) -> dict[str, Any]:
        shown = bisect_left(self._index.times, 0)
        for key in range(shown, min(shown + TRIED, len(self._index.times))):
            sample = self._sample(key, *self._fetched(self._index.guess(key)))
            self._decoder.ask({"do": "shape", "id": key, "lane": 0, "time": sample.time}, sample.data)
            head, _ = self._decoder.answer()
            if head["found"]:
                return head
        raise NoIndex("The first key frames give no picture on their own.")

    # -- key frames alone

    def _key_frames(self, keys: Sequence[int]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """An answer for each key frame, in any order."""
        lanes = _Turns(self._lanes)

        def send(group: list[int]) -> None:
            ranges = [self._index.guess(key) for key in group]
            start = min(first for first, _ in ranges)
            [data] = self._fetch([(start, max(last for _, last in ranges))])
            for key, (first, last) in zip(group, ranges, strict=True):
                sample = self._sample(key, first, data[first - start : last - start])
                self._decoder.ask(
                    {"do": "key", "id": key, "lane": lanes.take(key), "time": sample.time}, sample.data
                )

        for head, pixels in self._answers(send, self._groups(keys), FETCHERS, len(keys), end="found"):
            lanes.give_back(head["id"])
            yield head, pixels

    def _groups(self, keys: Sequence[int]) -> list[list[int]]:
        """Key frames that lie near each other are read together."""
        groups: list[list[int]] = []
        start = stop = 0
        for key in keys:
            first, last = self._index.guess(key)
            if groups and stop <= first <= stop + NEAR and last - start <= TOGETHER:
                groups[-1].append(key)
            else:
                groups.append([key])
                start = first
            stop = last
        return groups

    def _sample(self, key: int, start: int, data: bytes) -> Sample:
        while not isinstance(taken := self._index.take(key, start, data), Sample):
            start, data = self._fetched(taken)
        return taken

    # -- runs

    def _forward(self, runs: dict[int, list[int]], positions: list[int]) -> Iterator[Shown]:
        """The exact frames, decoded from a key frame on; from an earlier one where that brings none in time."""
        for _ in range(STEPS_BACK):
            late: dict[int, list[int]] = {}
            for key, number, shown in self._runs(runs, positions):
                if shown is not None:
                    yield shown
                elif key:
                    late.setdefault(key - 1, []).append(number)
            if not late:
                return
            runs = late
        for _, _, shown in self._runs({0: sorted(chain.from_iterable(runs.values()))}, positions):
            if shown is not None:
                yield shown

    def _runs(
        self, runs: dict[int, list[int]], positions: list[int]
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
            key = head["id"]
            if "done" in head:
                for number in missing[key]:
                    yield key, number, None
                continue
            number = numbers[key][head["number"]]
            missing[key].remove(number)
            yield key, number, Shown(number, head["time"] * self._tick, upright(head, pixels))

    def _send_run(self, lane: int, key: int, wanted: list[int]) -> None:
        self._decoder.ask({"do": "run", "id": key, "lane": lane, "wanted": wanted, "first": key == 0})
        lead = int(LEAD / self._tick)
        skips = self._index.track.codec in SKIPPABLE
        for sample in self._index.run(key, wanted[-1], self._fetch):
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
            for item in work:
                pool.submit(guarded, item)
            left = count
            try:
                while left:
                    head, pixels = self._decoder.answer()
                    left -= end in head
                    yield head, pixels
            except BaseException as error:  # noqa: BLE001 - raised again
                # Senders may be waiting for a child to which nobody listens any more.
                failures.append(error)
                self._decoder.stop()
                raise failures[0] from None

    def _fetch(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        return self._reader.read(ranges)

    def _fetched(self, span: ByteRange) -> tuple[int, bytes]:
        [data] = self._fetch([span])
        return span[0], data


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
