"""Where the pictures for instants come from: what both ways, our own index and FFmpeg's demuxers, have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from PIL import Image

from lib.sprites.definition import Definition
from lib.sprites.plan import Plan, Size


@dataclass(frozen=True)
class Facts:
    """What is known of a video before its pictures are made. Times are seconds on the player's clock."""

    display: Size
    """As players show it: square pixels, upright."""
    width: int
    height: int
    rotation: int
    codec: str
    container: str
    end: Fraction
    """The end of the video stream, as far as it was meant to go."""
    data_end: Fraction
    """The end of what is there."""
    truncated: bool


@dataclass(frozen=True)
class Shown:
    number: int
    """Which of the instants asked for."""
    time: Fraction
    """Presentation time of the frame."""
    picture: Image.Image
    """Upright, as large as it is on the tile."""


class Pictures(Protocol):
    facts: Facts

    def show(self, instants: Sequence[Fraction], plan: Plan, definition: Definition) -> Iterator[Shown]:
        """The pictures for these ascending instants, in any order; one without a frame is left out."""
        ...
