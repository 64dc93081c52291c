"""One capture: from a reader and a definition to sheets and a manifest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from PIL import Image, ImageStat

from lib.errors import Corrupt
from lib.sprites import containers, plan
from lib.sprites import manifest as manifests
from lib.sprites.decoder.client import Decoder
from lib.sprites.definition import Definition
from lib.sprites.demuxing import Demuxing
from lib.sprites.indexes import NoIndex
from lib.sprites.limits import Limits
from lib.sprites.manifest import Manifest
from lib.sprites.pictures import Pictures
from lib.sprites.reading import Reader, SourceFile
from lib.sprites.sheets import Canvas, Sheet
from lib.sprites.tiles import framed
from lib.sprites.ways import indexed

HEAD = 128 * 1024
"""Bytes that are read first: often the whole index."""
SMALL = 3 * HEAD
"""Bytes of a file that is read whole: looking around in it would cost more."""
BLACK, WHITE = 24, 232
"""Average brightness (0..255) outside of which a tile is no poster."""


class Metered:
    """The reader, every byte counted; what is kept is not read again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.size = reader.size
        self.bytes = 0
        self.requests = 0
        self._head = b""
        self._lock = threading.Lock()

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        kept = [self._head[start:stop] for start, stop in ranges]
        rest = [(start + len(head), stop) for (start, stop), head in zip(ranges, kept, strict=True)]
        missing = [(start, stop) for start, stop in rest if start < stop]
        blocks = iter(self._reader.read(missing) if missing else ())
        read = [next(blocks) if start < stop else b"" for start, stop in rest]
        with self._lock:  # several threads read
            self.requests += len(missing)
            self.bytes += sum(map(len, read))
        return [head + tail for head, tail in zip(kept, read, strict=True)]

    def keep_head(self, size: int) -> bytes:
        """Reads the beginning of the source, which both ends look at."""
        [self._head] = self.read([(0, min(size, self.size))])
        return self._head


def capture(
    reader: Reader,
    definition: Definition,
    *,
    sheet_name: Callable[[int], str],
    emit: Callable[[Sheet], None],
    source: Mapping[str, str | None],
    progress: Callable[[int, int], None] | None = None,
    limits: Limits,
) -> Manifest:
    metered = Metered(reader)
    head = metered.keep_head(HEAD if reader.size > SMALL else reader.size)
    kind = containers.recognise(SourceFile(metered))

    def run(pictures: Pictures) -> Manifest:
        return _Capture(pictures, metered, definition, sheet_name, emit, progress).run(source)

    try:
        with Decoder(limits) as decoder:  # starts while the index is read
            return run(indexed(decoder, metered, head, kind, limits))
    except NoIndex:
        # Nothing shows the sheets that there may be already: they are made again, under the same names.
        with Decoder(limits) as decoder:
            return run(Demuxing(decoder, metered, limits))


class _Capture:
    def __init__(
        self,
        pictures: Pictures,
        reader: Metered,
        definition: Definition,
        sheet_name: Callable[[int], str],
        emit: Callable[[Sheet], None],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._pictures = pictures
        self._facts = pictures.facts
        self._reader = reader
        self._definition = definition
        self._sheet_name = sheet_name
        self._emit = emit
        self._progress = progress or (lambda done, total: None)
        self._plan = plan.make(definition, self._facts.end, self._facts.display)
        self._sheets: list[manifests.SheetEntry] = []
        self._tiles: list[manifests.Tile] = []
        self._poster = (-1.0, 0)  # entropy, tile

    def run(self, source: Mapping[str, str | None]) -> Manifest:
        instants = [each for each in self._plan.instants if self._is_there(each)]
        self._progress(0, len(instants))
        for first, batch in self._plan.batches(instants):
            if self._draw(first, batch, len(instants)) < len(batch):
                break
        if not self._tiles:
            raise Corrupt(reason="No picture of the video can be decoded: the file is damaged or encrypted.")
        return self._manifest(source)

    def _is_there(self, instant: Fraction) -> bool:
        return not instant or not self._facts.truncated or instant < self._facts.data_end

    def _draw(self, first: int, batch: list[Fraction], total: int) -> int:
        """Draws and emits one sheet; the number of tiles on it, up to the first instant without a frame."""
        canvas = Canvas(self._plan, self._definition, len(batch))
        drawn: dict[int, manifests.Tile] = {}
        for shown in self._pictures.show(batch, self._plan, self._definition):
            index = first + shown.number
            canvas.paste(index, framed(shown.picture, self._plan.tile, self._definition.fill))
            drawn[shown.number] = self._tile(index, batch[shown.number], shown.time, shown.picture)
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
        facts = self._facts
        coverage = len(self._tiles) / self._plan.count
        return Manifest(
            outcome="partial" if facts.truncated or coverage < 1 else "complete",
            coverage=round(coverage, 6),
            accuracy=self._definition.accuracy,
            max_error=round(max(abs(tile.frame - tile.instant) for tile in self._tiles), 6),
            poster=min(-self._poster[1], len(self._tiles) - 1),
            source=manifests.Source(
                bucket=source.get("bucket"),
                key=source.get("key"),
                etag=source.get("etag"),
                size=self._reader.size,
                duration=_seconds(facts.end),
                width=facts.width,
                height=facts.height,
                rotation=facts.rotation,
                codec=facts.codec,
                container=facts.container,
            ),
            definition=self._definition.to_dict(),
            sheets=tuple(self._sheets),
            tiles=tuple(self._tiles),
            read=manifests.Read(self._reader.bytes, self._reader.requests),
        )


def _seconds(time: Fraction) -> float:
    return round(float(time), 6)
