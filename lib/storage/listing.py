"""One page of a bucket's list (COS, "GET Bucket (List Objects)", encoding-type=url)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from lib.ports import StoredObject


@dataclass(frozen=True)
class Page:
    objects: tuple[StoredObject, ...]
    next_marker: str | None  # None on the last page


def parse_page(body: bytes) -> Page:
    """Raises ValueError for anything but a ListBucketResult in UTF-8 without declarations of its own."""
    from xml.etree import ElementTree

    text = body.decode("utf-8")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it declares entities")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (no declarations, so nothing expands)
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise ValueError("not a list of objects")

    def text_of(node: ElementTree.Element, name: str) -> str:
        found = node.find(f"{{*}}{name}")
        if found is None:
            raise ValueError(f"{name} is missing")
        return found.text or ""

    objects = tuple(
        StoredObject(
            unquote(text_of(node, "Key"), errors="strict"),
            int(text_of(node, "Size")),
            text_of(node, "ETag").strip('"'),
            # 3.10 does not read the Z of RFC 3339.
            datetime.fromisoformat(text_of(node, "LastModified").replace("Z", "+00:00")).timestamp(),
        )
        for node in root.iterfind("{*}Contents")
    )
    if text_of(root, "IsTruncated") != "true":
        return Page(objects, None)
    marker = root.findtext("{*}NextMarker") or ""
    if not (marker or objects):
        raise ValueError("it is cut but does not tell where to go on")
    return Page(objects, unquote(marker, errors="strict") if marker else objects[-1].key)
