"""Pictures of a file that FFmpeg's own demuxers take: the child does everything, and reads through us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from lib.errors import Corrupt, MediaError, NoVideo, TooLarge, TooShort, Unsupported
from lib.sprites.decoder import answers
from lib.sprites.decoder.answers import doubting
from lib.sprites.decoder.client import Decoder
from lib.sprites.decoder.wire import Message
from lib.sprites.definition import Definition
from lib.sprites.limits import Limits
from lib.sprites.pictures import Facts, Shown
from lib.sprites.plan import Plan
from lib.sprites.reading import LARGEST_READ, Reader

OUTCOMES: dict[str, type[MediaError]] = {
    kind.outcome: kind for kind in (NoVideo, TooShort, Corrupt, Unsupported, TooLarge)
}
"""What looking at a file can tell of it."""


class Demuxing:
    """Raises MediaError, DecoderFailed, and whatever the reader raises."""

    def __init__(self, decoder: Decoder, reader: Reader, limits: Limits) -> None:
        self._decoder = decoder
        self._reader = reader
        decoder.ask({"do": "open", "size": reader.size, "max_pixels": limits.pixels})
        head, _ = self._answer()
        with doubting():
            width, height = answers.size(head["size"])
            self.facts = Facts(
                display=answers.size(head["display"]),
                width=width,
                height=height,
                rotation=answers.rotation(head["rotation"]),
                codec=answers.text(head["codec"]),
                container=answers.text(head["container"]),
                end=answers.seconds(head["end"], first=0),
                data_end=answers.seconds(head["data_end"]),
                truncated=bool(head["truncated"]),
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
        left = set(range(len(instants)))
        while True:
            head, pixels = self._answer()
            if "done" in head:
                return
            with doubting():
                number = head["number"]
                left.remove(number)
                time = answers.seconds(head["time"])
                picture = answers.picture(head, pixels, plan.tile)
            yield Shown(number, time, picture)

    def _answer(self) -> Message:
        """The next answer that is not a wish to read."""
        while True:
            head, body = self._decoder.answer()
            if "outcome" in head:
                with doubting():
                    failure = OUTCOMES[head["outcome"]](reason=answers.text(head["reason"]))
                raise failure
            if "want" not in head:
                return head, body
            with doubting():
                [(start, stop)] = head["want"]
                if not 0 <= answers.whole(start) <= answers.whole(stop) <= self._reader.size:
                    raise ValueError("the file does not reach so far")
                if stop - start > LARGEST_READ:
                    raise ValueError("nobody needs so much at once")
            [block] = self._reader.read([(start, stop)])
            self._decoder.ask({"lengths": [len(block)]}, block)
