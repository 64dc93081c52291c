"""Pictures of a file that FFmpeg's own demuxers take: the child does everything, and reads through us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from lib.errors import FAILURES
from lib.sprites.decoder.client import Decoder
from lib.sprites.decoder.wire import Message, unpack
from lib.sprites.definition import Definition
from lib.sprites.limits import Limits
from lib.sprites.pictures import Facts, Shown
from lib.sprites.plan import Plan
from lib.sprites.reading import Reader
from lib.sprites.tiles import upright


class Demuxing:
    """Raises MediaError, DecoderFailed, and whatever the reader raises."""

    def __init__(self, decoder: Decoder, reader: Reader, limits: Limits) -> None:
        self._decoder = decoder
        self._reader = reader
        decoder.ask({"do": "open", "size": reader.size, "max_pixels": limits.pixels})
        head, _ = self._answer()
        self.facts = Facts(
            display=tuple(head["display"]),
            width=head["size"][0],
            height=head["size"][1],
            rotation=head["rotation"],
            codec=head["codec"],
            container=head["container"],
            end=_fraction(head["end"]),
            data_end=_fraction(head["data_end"]),
            truncated=head["truncated"],
        )

    def show(self, instants: Sequence[Fraction], plan: Plan, definition: Definition) -> Iterator[Shown]:
        self._decoder.ask(
            {
                "do": "show",
                "instants": [[instant.numerator, instant.denominator] for instant in instants],
                "step": [plan.step.numerator, plan.step.denominator],
                "tile": plan.tile,
                "definition": definition.to_dict(),
            }
        )
        while True:
            head, pixels = self._answer()
            if "done" in head:
                return
            yield Shown(head["number"], _fraction(head["time"]), upright(head, pixels))

    def _answer(self) -> Message:
        """The next answer that is not a wish to read."""
        while True:
            head, body = self._decoder.answer()
            if "outcome" in head:
                raise FAILURES[head["outcome"]](reason=head["reason"])
            if "want" not in head:
                return head, body
            blocks = self._reader.read([(start, stop) for start, stop in head["want"]])
            self._decoder.ask({"lengths": [len(block) for block in blocks]}, b"".join(blocks))


def _fraction(value: Any) -> Fraction:
    return unpack(value) or Fraction(0)
