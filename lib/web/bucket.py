"""Serves a bucket's objects to players: ranges, ETags, CORS, the right content types."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from werkzeug.datastructures import ContentRange
from werkzeug.http import http_date, quote_etag
from werkzeug.wrappers import Request, Response

from lib.errors import KeyRefused, ObjectChanged, ObjectNotFound
from lib.ports import Storage, StoredObject
from lib.publication import STABLE_NAMES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BLOCK = 1 << 20

mimetypes.add_type("text/vtt", ".vtt")
mimetypes.add_type("video/x-matroska", ".mkv")
mimetypes.add_type("image/webp", ".webp")


class BucketApp:
    """WSGI: the path is the key."""

    def __init__(self, storage: Storage, *, output_prefix: str) -> None:
        self._storage = storage
        self._output_prefix = output_prefix

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response = self._answer(Request(environ))
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Expose-Headers"] = "Content-Length, Content-Range, ETag"
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            allow = {
                "Access-Control-Allow-Methods": "GET, HEAD",
                "Access-Control-Allow-Headers": "Range, If-None-Match",
            }
            return Response(status=204, headers=allow)
        if request.method not in ("GET", "HEAD"):
            return Response("only GET and HEAD\n", 405, {"Allow": "GET, HEAD, OPTIONS"})
        key = request.path.lstrip("/")
        try:
            stored = self._storage.head(key)
        except (ObjectNotFound, KeyRefused):
            return Response("there is no such object\n", 404)
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": quote_etag(stored.etag),
            "Last-Modified": http_date(stored.modified),
            "Content-Type": content_type(key),
            "Cache-Control": self._cache_control(key),
        }
        if request.if_none_match.contains(stored.etag):
            return Response(status=304, headers=headers)
        start, stop, status = 0, stored.size, 200
        if request.range is not None and request.range.units == "bytes":
            wanted = request.range.range_for_length(stored.size)
            if wanted is None:
                headers["Content-Range"] = f"bytes */{stored.size}"
                return Response(status=416, headers=headers)
            start, stop, status = wanted[0], wanted[1] or stored.size, 206
            headers["Content-Range"] = ContentRange("bytes", start, stop, stored.size).to_header()
        headers["Content-Length"] = str(stop - start)
        body = self._blocks(stored, start, stop) if request.method == "GET" else ()
        return Response(body, status, headers, direct_passthrough=True)

    def _blocks(self, stored: StoredObject, start: int, stop: int) -> Iterator[bytes]:
        for position in range(start, stop, BLOCK):
            try:
                yield self._storage.read(
                    stored.key, [(position, min(position + BLOCK, stop))], etag=stored.etag
                )[0]
            except (ObjectChanged, ObjectNotFound):
                return  # a short body tells the client; a mix of two versions would not

    def _cache_control(self, key: str) -> str:
        name = key.rpartition("/")[2]
        if key.startswith(self._output_prefix) and name not in STABLE_NAMES:
            return "public, max-age=31536000, immutable"
        return "no-cache"


def content_type(key: str) -> str:
    guessed = mimetypes.guess_type(key)[0] or "application/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") or guessed.endswith("json") else guessed
