"""Pictures of a file without tables: key frames are looked for around the instants that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from lib.sprites.containers import Container
from lib.sprites.decoder.client import Decoder
from lib.sprites.definition import Definition
from lib.sprites.indexes import NoIndex, Probed, Sample
from lib.sprites.indexing import Indexing, Numbers, is_near_enough
from lib.sprites.limits import Limits
from lib.sprites.reading import Reader


class Probing(Indexing):
    """Key frames go by their times."""

    def __init__(
        self, decoder: Decoder, reader: Reader, probed: Probed, kind: Container, limits: Limits
    ) -> None:
        self._reader = reader
        self._probed = probed
        self._found: dict[int, Sample] = {}
        [first] = probed.find([0], None, reader.read)
        if first is None:
            [first] = probed.find([0], probed.track.end, reader.read)
        if first is None:
            raise NoIndex("No key frame is found.")
        self._first_sample = first
        super().__init__(decoder, probed.track, kind, limits)

    def _first_samples(self) -> Iterator[Sample]:
        yield self._first_sample

    def _choose(
        self, instants: Sequence[Fraction], step: Fraction, definition: Definition
    ) -> tuple[Numbers, Numbers]:
        alone: Numbers = {}
        self._found.clear()
        rest = list(range(len(instants)))
        if definition.accuracy != "exact":
            rest = []
            for number, sample in enumerate(self._find(instants, self._reach(step, definition))):
                if sample and is_near_enough(sample.time * self._tick - instants[number], step, definition):
                    self._found[sample.time] = sample
                    alone.setdefault(sample.time, []).append(number)
                else:
                    rest.append(number)
        runs: Numbers = {}
        for number, sample in zip(rest, self._find([instants[number] for number in rest], None), strict=True):
            runs.setdefault((sample or self._first_sample).time, []).append(number)
        return alone, runs

    def _reach(self, step: Fraction, definition: Definition) -> int:
        if definition.accuracy == "keyframe":
            return self._track.end
        near = Fraction(str(definition.tolerance)) if definition.tolerance is not None else step / 2
        return int(near / self._tick)

    def _find(self, instants: Sequence[Fraction], reach: int | None) -> list[Sample | None]:
        return self._probed.find([self._position(instant) for instant in instants], reach, self._reader.read)

    def _work(self, keys: Sequence[int]) -> list[int]:
        return list(keys)

    def _samples(self, work: int) -> Iterator[tuple[int, Sample]]:
        yield work, self._found[work]

    def _earlier(self, key: int) -> int | None:
        if key <= self._first():
            return None
        [sample] = self._probed.find([key - 1], None, self._reader.read)
        return sample.time if sample else self._first()

    def _first(self) -> int:
        return self._first_sample.time

    def _run(self, key: int, until: int) -> Iterator[Sample]:
        return self._probed.run(key, until, self._reader.read)
