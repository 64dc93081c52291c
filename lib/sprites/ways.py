"""Which way a file's pictures are made: by its tables, by probing, or by FFmpeg's own demuxers."""

from __future__ import annotations

from lib.sprites import containers
from lib.sprites.containers import Container
from lib.sprites.decoder.client import Decoder
from lib.sprites.indexes import NoIndex, fragmented, matroska, mp4, mpegts
from lib.sprites.limits import Limits
from lib.sprites.pictures import Pictures
from lib.sprites.probing import Probing
from lib.sprites.reading import Reader
from lib.sprites.tabled import Tabled

TABLES = {
    containers.MP4: mp4.open,
    containers.QUICKTIME: mp4.open,
    containers.FRAGMENTED: fragmented.open,
    containers.MATROSKA: matroska.open,
    containers.WEBM: matroska.open,
}


def indexed(decoder: Decoder, reader: Reader, head: bytes, kind: Container, limits: Limits) -> Pictures:
    """`head`: how the source begins. Raises NoIndex where FFmpeg's demuxers are to take the file."""
    if kind == containers.MPEG_TS:
        return Probing(decoder, reader, mpegts.open(reader.read, reader.size, head), kind, limits)
    if kind in TABLES:
        return Tabled(decoder, reader, TABLES[kind](reader.read, reader.size, head), kind, limits)
    raise NoIndex("Containers of this kind have no index that is read here.")
