"""One capture: from a reader and a definition to sheets and a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from PIL import Image, ImageStat

from lib.errors import Corrupt
from lib.sprites import manifest as manifests
from lib.sprites import pictures, plan
from lib.sprites.definition import Definition
from lib.sprites.frames import Frames
from lib.sprites.manifest import Manifest
from lib.sprites.media import Media
from lib.sprites.reading import Reader, SourceFile
from lib.sprites.sheets import Canvas, Sheet

BLACK, WHITE = 24, 232
"""Average brightness (0..255) outside of which a tile is no poster."""


def capture(
    reader: Reader,
    definition: Definition,
    *,
    sheet_name: Callable[[int], str],
    emit: Callable[[Sheet], None],
    source: Mapping[str, str | None],
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    file = SourceFile(reader)
    media = Media(file)
    try:
        return _Capture(media, definition, sheet_name, emit, progress).run(source)
    finally:
        media.close()


class _Capture:
    def __init__(
        self,
        media: Media,
        definition: Definition,
        sheet_name: Callable[[int], str],
        emit: Callable[[Sheet], None],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._media = media
        self._definition = definition
        self._sheet_name = sheet_name
        self._emit = emit
        self._progress = progress or (lambda done, total: None)
        self._first = media.first_frame()
        aspect = media.stream.sample_aspect_ratio
        self._plan = plan.make(definition, media.end, pictures.display_size(self._first, aspect))
        self._painter = pictures.Painter(self._plan.tile, definition.fill, aspect)
        self._sheets: list[manifests.SheetEntry] = []
        self._tiles: list[manifests.Tile] = []
        self._poster = (-1.0, 0)  # entropy, tile

    def run(self, source: Mapping[str, str | None]) -> Manifest:
        instants = [each for each in self._plan.instants if self._is_there(each)]
        frames = Frames(self._media, self._definition, self._plan.step)
        self._progress(0, len(instants))
        for first, batch in self._plan.batches(instants):
            if self._draw(first, batch, frames, len(instants)) < len(batch):
                break
        if not self._tiles:
            raise Corrupt(reason="No picture of the video can be decoded: the file is damaged or encrypted.")
        return self._manifest(source)

    def _is_there(self, instant: Fraction) -> bool:
        return not instant or not self._media.truncated or instant < self._media.data_end

    def _draw(self, first: int, batch: list[Fraction], frames: Frames, total: int) -> int:
        """Draws and emits one sheet; the number of tiles on it, up to the first instant without a frame."""
        canvas = Canvas(self._plan, self._definition, len(batch))
        drawn: dict[int, manifests.Tile] = {}
        for number, frame in frames.show(batch):
            picture = self._painter.draw(frame)
            index = first + number
            canvas.paste(index, self._painter.frame_in(picture))
            drawn[number] = self._tile(index, batch[number], self._media.clock(frame.pts), picture)
            self._progress(first + len(drawn), total)
        made = next((number for number in range(len(batch)) if number not in drawn), len(batch))
        if made:
            sheet = canvas.finish(self._sheet_name(len(self._sheets)), made)
            self._emit(sheet)
            self._sheets.append(manifests.SheetEntry(sheet.name, sheet.width, sheet.height, sheet.tiles))
            self._tiles += [drawn[number] for number in range(made)]
        return made

    def _tile(self, index: int, instant: Fraction, frame: Fraction, picture: Image.Image) -> manifests.Tile:
        gray = picture.convert("L")
        if BLACK <= ImageStat.Stat(gray).mean[0] <= WHITE:
            self._poster = max(self._poster, (gray.entropy(), -index))
        color = "#{:02x}{:02x}{:02x}".format(*picture.resize((1, 1), Image.Resampling.BOX).tobytes())
        x, y = self._plan.place(index)
        return manifests.Tile(
            index, _seconds(instant), _seconds(frame), len(self._sheets), x, y, *self._plan.tile, color
        )

    def _manifest(self, source: Mapping[str, str | None]) -> Manifest:
        media, file = self._media, self._media.file
        coverage = len(self._tiles) / self._plan.count
        return Manifest(
            outcome="partial" if media.truncated or coverage < 1 else "complete",
            coverage=round(coverage, 6),
            accuracy=self._definition.accuracy,
            max_error=round(max(abs(tile.frame - tile.instant) for tile in self._tiles), 6),
            poster=min(-self._poster[1], len(self._tiles) - 1),
            source=manifests.Source(
                bucket=source.get("bucket"),
                key=source.get("key"),
                etag=source.get("etag"),
                size=file.size,
                duration=_seconds(media.end),
                width=media.stream.width,
                height=media.stream.height,
                rotation=pictures.orientation(self._first).rotation,
                codec=media.stream.codec_context.codec.canonical_name,
                container=media.kind.name,
            ),
            definition=self._definition.to_dict(),
            sheets=tuple(self._sheets),
            tiles=tuple(self._tiles),
            read=manifests.Read(file.bytes, file.requests),
        )


def _seconds(time: Fraction) -> float:
    return round(float(time), 6)
