"""A file that FFmpeg's own demuxers take, read through the parent: its facts, and pictures for instants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from lib.sprites.decoder.frames import Frames
from lib.sprites.decoder.media import Media
from lib.sprites.decoder.pictures import Painter, display_size, orientation
from lib.sprites.decoder.wire import pack
from lib.sprites.definition import Definition
from lib.sprites.reading import SourceFile

Read = Callable[[Sequence[tuple[int, int]]], list[bytes]]


class _Remote:
    """The reader that the parent has."""

    def __init__(self, read: Read, size: int) -> None:
        self.size = size
        self.read = read


class Demuxed:
    """Raises MediaError."""

    def __init__(self, read: Read, head: dict[str, Any]) -> None:
        self._media = Media(SourceFile(_Remote(read, head["size"])), head["max_pixels"])
        self._first = self._media.first_frame()
        self._turn = orientation(self._first)
        self._aspect = self._media.stream.sample_aspect_ratio
        self._frames: Frames | None = None

    def facts(self) -> dict[str, Any]:
        media = self._media
        return {
            "display": display_size(self._first, self._aspect, self._turn),
            "size": [media.stream.width, media.stream.height],
            "rotation": self._turn.rotation,
            "codec": media.stream.codec_context.codec.canonical_name,
            "container": media.kind.name,
            "end": pack(media.end),
            "data_end": pack(media.data_end),
            "truncated": media.truncated,
        }

    def show(self, head: dict[str, Any]) -> Iterator[tuple[dict[str, Any], memoryview]]:
        """The pictures for these ascending instants, in any order; an instant without a frame is left out."""
        definition = Definition.from_dict(head["definition"])
        if self._frames is None:
            self._frames = Frames(self._media, definition, Fraction(*head["step"]))
            self._painter = Painter(tuple(head["tile"]), definition.fill, self._aspect)
        for number, frame in self._frames.show([Fraction(*instant) for instant in head["instants"]]):
            picture, pixels = self._painter.draw(frame, orientation(frame))
            time = pack(self._media.clock(frame.pts))
            yield {"number": number, "time": time, **picture}, pixels
