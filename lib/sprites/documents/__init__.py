"""The documents: what players read, made from a manifest. Each is one module, loaded when it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from lib.errors import Invalid

if TYPE_CHECKING:
    from lib.sprites.documents.addresses import Address
    from lib.sprites.manifest import Manifest

SheetBytes = Callable[[str], bytes]
"""From the name of a sheet to the file."""


@dataclass(frozen=True)
class Document:
    file: str
    content_type: str
    made: Callable[[Manifest, Address, SheetBytes], str | bytes]
    absolute: bool = False
    """Whether its readers resolve addresses against a page of theirs, so that only absolute ones are right."""

    def render(self, manifest: Manifest, address: Address, sheet_bytes: SheetBytes) -> bytes:
        """The file. Only BIF asks for `sheet_bytes`.

        Raises Invalid for what the document cannot tell the truth about: a manifest without tiles, and for
        all but WebVTT, storyboard and BIF one whose tiles are not on a grid. DASH also refuses several sheets
        with addresses that are not counted.
        """
        made = self.made(manifest, address, sheet_bytes)
        return made if isinstance(made, bytes) else made.encode()


def _text(module: str, function: str = "render") -> Callable[[Manifest, Address, SheetBytes], str | bytes]:
    def made(manifest: Manifest, address: Address, sheet_bytes: SheetBytes) -> str | bytes:
        loaded = import_module(f"lib.sprites.documents.{module}")
        document: str = getattr(loaded, function)(manifest, address)
        return document

    return made


def _bif(manifest: Manifest, address: Address, sheet_bytes: SheetBytes) -> bytes:
    from lib.sprites.documents import bif

    return bif.render(manifest, sheet_bytes)


def render_all(
    names: Iterable[str],
    manifest: Manifest,
    *,
    folder_url: str = "",
    sheet_bytes: SheetBytes,
) -> dict[str, bytes]:
    """Files by document. One that cannot tell the truth about this sprite is left out, but never WebVTT.

    `folder_url`: where the folder of the sprite is, for documents that need absolute addresses. Raises Invalid.
    """
    from lib.sprites.documents.addresses import below, relative

    files = {}
    for name in names:
        document = ALL[name]
        address = below(folder_url) if document.absolute and folder_url else relative
        try:
            files[name] = document.render(manifest, address, sheet_bytes)
        except Invalid:
            if name == "vtt":
                raise
    return files


ALL: Mapping[str, Document] = {
    "vtt": Document("thumbnails.vtt", "text/vtt; charset=utf-8", _text("webvtt")),
    "storyboard": Document("storyboard.json", "application/json", _text("storyboard"), absolute=True),
    "hls": Document("thumbnails.m3u8", "application/vnd.apple.mpegurl", _text("hls")),
    "dash": Document("thumbnails.mpd", "application/dash+xml", _text("dash")),
    "bif": Document("thumbnails.bif", "application/octet-stream", _bif),
    "players": Document(
        "players.md", "text/markdown; charset=utf-8", _text("snippets", "page"), absolute=True
    ),
}
"""By the name under which the manifest lists them."""
