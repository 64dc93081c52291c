"""Where a sprite is published, and how it changes whole.

One folder per key and definition, `<output prefix><key>/<definition>/`:

    sprite_<first 12 of the ETag>_<n>.jpg    a sheet; never changes
    sprite_<first 12 of the ETag>.json       the manifest of that version; never changes, written after its sheets
    thumbnails.vtt and other documents       the newest upload's; stable names
    manifest.json                            written last

Writing these is `point`: it asks the bucket which version of the video is there *now* and copies that
version's manifest, again if the answer changed meanwhile. Whoever points last, even a straggler, points right.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from lib.errors import Gone, ObjectNotFound
from lib.keys import LONGEST_KEY
from lib.ports import Storage, StoredObject
from lib.sprites import Definition, Manifest
from lib.sprites.documents import ALL, render_all

if TYPE_CHECKING:
    from lib.sprites.sheets import Sheet

IMMUTABLE = "public, max-age=31536000, immutable"
NO_CACHE = "no-cache"
STABLE_NAMES = ("manifest.json", *(document.file for document in ALL.values()))
_ROOM = 64
"""Bytes kept free behind the folder for the names in it."""

_POINT_TRIES = 8


def folder(output_prefix: str, key: str, definition: int) -> str:
    """Where the sprite of a key goes.

    A key too long for that is cut (at a character) and ends in `~` and the first 32 hexadecimal digits of its SHA-256.
    """
    end = f"/{definition}/"
    room = LONGEST_KEY - _ROOM - len(f"{output_prefix}{end}".encode())
    if len(key.encode()) > room:
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        key = key.encode()[: room - 33].decode(errors="ignore") + "~" + digest
    return f"{output_prefix}{key}{end}"


@dataclass(frozen=True)
class Swept:
    """What a sweep left."""

    missing: str = ""
    """The ETag of the video in the bucket, if it has no pictures."""
    again: bool = False
    """Players may still show the former version: its sheets are to go later."""


class Publication:
    """The published sprite of one key and definition."""

    def __init__(
        self,
        storage: Storage,
        *,
        output_prefix: str,
        public_base_url: str,
        key: str,
        definition: Definition,
        documents: Sequence[str] = ("vtt",),
    ) -> None:
        """`documents`: names of lib.sprites.documents.ALL."""
        self._storage = storage
        self._base = public_base_url.rstrip("/")
        self._key = key
        self._definition = definition
        self._documents = documents
        self.folder = folder(output_prefix, key, definition.number)

    def source(self) -> StoredObject:
        """The video as it is now. Raises Gone."""
        try:
            return self._storage.head(self._key)
        except ObjectNotFound as error:
            raise Gone(reason="the video was deleted before its sprite was made") from error

    def sheet_name(self, etag: str, number: int) -> str:
        return f"{_stem(etag)}_{number}.{self._definition.format}"

    def put_sheet(self, sheet: Sheet) -> None:
        self._storage.put(
            self.folder + sheet.name, sheet.data, content_type=sheet.content_type, cache_control=IMMUTABLE
        )

    def put_manifest(self, manifest: Manifest) -> None:
        """After all its sheets: from here on the version is finished and is never captured again."""
        self._put_json(f"{_stem(manifest.source.etag or '')}.json", manifest, IMMUTABLE)

    def finished(self, etag: str) -> Manifest | None:
        """The manifest of a version captured before, if it was made with the definition as it is now."""
        manifest = self._read(f"{_stem(etag)}.json")
        if (
            manifest is None
            or manifest.source.etag != etag
            or manifest.definition != self._definition.to_dict()
        ):
            return None
        return manifest

    def point(self) -> str:
        """Lets the stable names show the version of the video that is in the bucket now; gives its ETag.

        A version that is not captured yet is left to its own attempt. Raises Gone.
        """
        for _ in range(_POINT_TRIES):
            etag = self.source().etag
            manifest = self.finished(etag)
            if manifest is None:
                return etag
            self._put_json("manifest.json", self._put_documents(manifest), NO_CACHE)
            if self.source().etag == etag:
                return etag
        return etag

    def _put_documents(self, manifest: Manifest) -> Manifest:
        """Gives the manifest that names them."""
        files = render_all(
            self._documents,
            manifest,
            folder_url=self._url(""),
            sheet_bytes=lambda name: self._storage.get(self.folder + name),
        )
        for name, data in files.items():
            kind = ALL[name]
            self._storage.put(
                self.folder + kind.file, data, content_type=kind.content_type, cache_control=NO_CACHE
            )
        return replace(manifest, documents={name: ALL[name].file for name in files})

    def discard(self, etag: str, *, older_than: float = math.inf) -> None:
        """Removes the sheets of a version that will never be shown.

        A version that is shown still stays: the sweep removes it when the newer one has taken its place.
        """
        if self._shown() == etag:
            return
        for stored in self._contents():
            if self._belongs(stored, etag) and stored.modified < older_than:
                self._storage.delete(stored.key)

    def sweep(self, *, older_than: float) -> Swept:
        """Points, then removes the sheets of other versions, once the right one has been shown for long enough.

        As long as the version in the bucket has no pictures, the last one before it is shown, and stays.
        """
        before = self._shown()
        try:
            etag = self.point()
        except Gone:
            for stored in self._contents():
                self._storage.delete(stored.key)
            return Swept()
        if self.finished(etag) is None:
            return Swept(missing=etag)
        ours: list[StoredObject] = []
        stale: list[StoredObject] = []
        for stored in self._contents():
            if stored.key.removeprefix(self.folder) not in STABLE_NAMES:
                (ours if self._belongs(stored, etag) else stale).append(stored)
        if before != etag or max(stored.modified for stored in ours) >= older_than:
            return Swept(again=bool(stale))
        for stored in stale:
            self._storage.delete(stored.key)
        return Swept()

    def result(self, manifest: Manifest) -> dict[str, object]:
        """What events and queries tell of the sprite (VOD API 2.0, CreateImageSpriteComplete)."""
        return {
            "totalCount": len(manifest.tiles),
            "imageSpriteUrl": [self._url(sheet.name) for sheet in manifest.sheets],
            "webVttUrl": self._url(manifest.documents["vtt"]),
            "width": manifest.tiles[0].width,
            "height": manifest.tiles[0].height,
            "coverage": manifest.coverage,
            "folder": self.folder,
        }

    def _shown(self) -> str | None:
        """The ETag of the version that the stable names show."""
        manifest = self._read("manifest.json")
        return manifest.source.etag if manifest is not None else None

    def _contents(self) -> list[StoredObject]:
        """What is in the folder itself: below it may lie the sprite of a key that begins like this one."""
        stored = self._storage.list(self.folder)
        return [one for one in stored if "/" not in one.key.removeprefix(self.folder)]

    def _belongs(self, stored: StoredObject, etag: str) -> bool:
        return stored.key.startswith((f"{self.folder}{_stem(etag)}_", f"{self.folder}{_stem(etag)}."))

    def _url(self, name: str) -> str:
        return f"{self._base}/{quote(self.folder + name, safe='/~')}"

    def _read(self, name: str) -> Manifest | None:
        try:
            return Manifest.from_json(self._storage.get(self.folder + name).decode())
        except ObjectNotFound:
            return None

    def _put_json(self, name: str, manifest: Manifest, cache_control: str) -> None:
        data = manifest.to_json().encode()
        self._storage.put(
            self.folder + name,
            data,
            content_type="application/json; charset=utf-8",
            cache_control=cache_control,
        )


def _stem(etag: str) -> str:
    return "sprite_" + re.sub(r"[^0-9A-Za-z]", "", etag)[:12]
