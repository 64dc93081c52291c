"""A bucket of Tencent COS over HTTP (COS, "API Documentation": Object operations, GET Bucket)."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from lib.errors import ObjectChanged, ObjectNotFound, StorageRefused, StorageUnavailable
from lib.keys import check_key
from lib.ports import ByteRange, Clock, StoredObject
from lib.signing.cos import TOKEN, Credentials, authorization, presigned_query
from lib.storage.transfer import (
    KEPT,
    Again,
    Patience,
    check_ranges,
    exchange,
    in_parallel,
    read_body,
    read_range,
    retry_after,
)

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool

    from lib.storage.listing import Page

VALIDITY = 600  # seconds a signature of ours lives after its request
LEEWAY = 60  # seconds a signature begins before its request
IDLE = 45.0  # seconds; a frozen function wakes up with connections that are dead but do not say so
REPEATABLE = frozenset({"RequestTimeout", "RequestTimeOut", "BadDigest", "IncompleteBody"})

T = TypeVar("T")


class CosStorage:
    """One bucket. `credentials` is asked before every request, because keys of a role rotate."""

    def __init__(
        self,
        bucket: str,
        region: str,
        credentials: Callable[[], Credentials],
        *,
        clock: Clock,
        endpoint: str | None = None,
        deadline: float = 60.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`endpoint` (scheme://host[:port]) replaces the bucket's own; `deadline` is seconds for a call."""
        self.bucket = bucket
        self._endpoint = (endpoint or f"https://{bucket}.cos.{region}.myqcloud.com").rstrip("/")
        self._host = urlsplit(self._endpoint).netloc
        self._credentials = credentials
        self._clock = clock
        self._patience = Patience(clock, deadline, jitter=jitter)
        self._offset = 0.0  # seconds the server's clock is ahead of ours
        self._connections: HTTPConnectionPool | None = None
        self._used = 0.0

    def head(self, key: str) -> StoredObject:
        def describe(response: BaseHTTPResponse, until: float) -> StoredObject:
            headers = response.headers
            response.drain_conn()
            return StoredObject(key, _length(headers), _etag(headers), _seconds(headers, "Last-Modified"))

        return self._call("reading", "HEAD", key, describe)

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[bytes]:
        """The bytes of each range, as far as the object goes, in order; up to 8 requests at once."""
        check_ranges(ranges)
        until = self._patience.until()
        match = {"If-Match": f'"{etag}"'} if etag is not None else {}

        def fetch(span: ByteRange) -> tuple[str | None, bytes]:
            def take(response: BaseHTTPResponse, until: float) -> tuple[str | None, bytes]:
                if response.status == 416:  # begins past the end
                    read_body(response, None, self._clock, until)
                    return None, b""
                if response.status != 206:
                    raise Again(f"{response.status} came instead of a part")
                return _etag(response.headers), read_range(response, span, self._clock, until)[0]

            if span[0] == span[1]:
                return None, b""
            headers = {"Range": f"bytes={span[0]}-{span[1] - 1}", **match}
            return self._call("reading", "GET", key, take, headers=headers, until=until, etag=etag)

        parts = in_parallel(fetch, ranges)
        seen = sorted({found for found, _ in parts if found is not None} | ({etag} if etag else set()))
        if len(seen) > 1:
            raise ObjectChanged(bucket=self.bucket, key=key, etag=etag or seen[0])
        return [data for _, data in parts]

    def get(self, key: str) -> bytes:
        def take(response: BaseHTTPResponse, until: float) -> bytes:
            return read_body(response, _length(response.headers), self._clock, until)

        return self._call("reading", "GET", key, take)

    def put(self, key: str, data: bytes, *, content_type: str, cache_control: str) -> None:
        digest = base64.b64encode(hashlib.md5(data).digest()).decode()  # noqa: S324 (COS compares it)
        headers = {"Content-Type": content_type, "Cache-Control": cache_control, "Content-MD5": digest}
        self._call("writing", "PUT", key, _finish, headers=headers, body=data)

    def delete(self, key: str) -> None:
        try:
            self._call("deleting", "DELETE", key, _finish)
        except ObjectNotFound:
            return

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """All objects whose key begins with `prefix`, sorted by the key's bytes, asked for page by page."""
        from lib.storage.listing import parse_page

        def take(response: BaseHTTPResponse, until: float) -> Page:
            try:
                return parse_page(read_body(response, None, self._clock, until))
            except ValueError as error:
                raise Again(f"the list cannot be read: {error}") from error

        marker: str | None = after
        while marker is not None:
            params = {"prefix": prefix, "marker": marker, "max-keys": "1000", "encoding-type": "url"}
            page = self._call("listing", "GET", "", take, params=params)
            yield from page.objects
            if page.next_marker is not None and page.next_marker.encode() <= marker.encode():
                raise self._unavailable("listing", prefix)("the list does not come to an end")
            marker = page.next_marker

    def presign(self, key: str, *, seconds: int) -> str:
        """A URL that anyone may GET for so long, or until the role's token in it ends if that is sooner."""
        check_key(self.bucket, key)
        now = int(self._clock.now() + self._offset)
        query = presigned_query(
            "GET",
            f"/{key}",
            {"host": self._host},
            self._credentials(),
            start=now - LEEWAY,
            end=now + seconds,
        )
        return f"{self._endpoint}{_target(key)}?{query}"

    def _call(
        self,
        action: str,
        method: str,
        key: str,
        take: Callable[[BaseHTTPResponse, float], T],
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        until: float | None = None,
        etag: str | None = None,
    ) -> T:
        """Sends a signed request, again and again if need be, and gives what `take` makes of the answer."""
        if action != "listing":
            check_key(self.bucket, key)
        params = params or {}
        limit = self._patience.until() if until is None else until
        target = _target(key)
        if params:
            target += "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items())

        def once(left: float) -> T:
            keys = self._credentials()
            sent = {"Host": self._host, **(headers or {})}
            if keys.token:
                sent[TOKEN] = keys.token
            now = int(self._clock.now() + self._offset)
            sent["Authorization"] = authorization(
                method,
                f"/{key}",
                params,
                sent,
                secret_id=keys.secret_id,
                secret_key=keys.secret_key,
                start=now - LEEWAY,
                end=now + VALIDITY,
            )
            with exchange(self._pool(), method, target, sent, body, left) as response:
                if 200 <= response.status < 300 or (response.status == 416 and "Range" in sent):
                    return take(response, limit)
                raise self._failure(response, action, key, etag, keys, limit)

        return self._patience.persist(once, limit, self._unavailable(action, key))

    def _failure(
        self,
        response: BaseHTTPResponse,
        action: str,
        key: str,
        etag: str | None,
        used: Credentials,
        until: float,
    ) -> Exception:
        """What an answer other than success means."""
        status = response.status
        code, request_id = _error_facts(read_body(response, None, self._clock, until))
        request_id = request_id or _plain(response.headers.get("x-cos-request-id", ""))
        reason = f"{status} {code or 'without a code'} (request {request_id or 'unnamed'})"
        if status == 412:
            return ObjectChanged(bucket=self.bucket, key=key, etag=etag)
        if status == 404 and code != "NoSuchBucket":
            return ObjectNotFound(bucket=self.bucket, key=key)
        if status in (408, 429) or status >= 500 or code in REPEATABLE:
            return Again(reason, retry_after(response.headers))
        if status == 403 and (self._learn_time(response) or self._credentials() != used):
            return Again(reason, pause=0.0)
        return StorageRefused(bucket=self.bucket, action=action, key=key, reason=reason)

    def _learn_time(self, response: BaseHTTPResponse) -> bool:
        """Takes over the server's time if the signature just refused was made far from it.

        COS answers RequestTimeTooSkewed or AccessDenied ("Request has expired"), and always its Date.
        """
        if "Date" not in response.headers:
            return False
        offset = _seconds(response.headers, "Date") - self._clock.now()
        wrong = abs(offset - self._offset) > LEEWAY / 2
        if wrong:
            self._offset = offset
        return wrong

    def _pool(self) -> HTTPConnectionPool:
        idle = self._clock.now() - self._used
        self._used = self._clock.now()
        if self._connections is None or idle > IDLE:
            from urllib3 import connection_from_url

            self._connections = connection_from_url(self._endpoint, maxsize=KEPT)
        return self._connections

    def _unavailable(self, action: str, key: str) -> Callable[[str], StorageUnavailable]:
        return lambda reason: StorageUnavailable(bucket=self.bucket, action=action, key=key, reason=reason)


def _target(key: str) -> str:
    # Sent to a pool (not to a URL), a path that is wholly encoded is left as it is.
    return "/" + quote(key, safe="/")


def _finish(response: BaseHTTPResponse, until: float) -> None:
    response.drain_conn()


def _error_facts(body: bytes) -> tuple[str, str]:
    """Code and RequestId. The rest of an error's XML may repeat what was signed, so it goes nowhere."""
    text = body.decode("utf-8", "replace")
    return tuple(  # type: ignore[return-value]
        _plain(found.group(1)) if (found := re.search(f"<{name}>([^<]*)</{name}>", text)) else ""
        for name in ("Code", "RequestId")
    )


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]", "", text)[:100]


def _etag(headers: Mapping[str, str]) -> str:
    etag = headers.get("ETag", "").strip('"')
    if not etag:
        raise Again("the answer has no ETag")
    return etag


def _length(headers: Mapping[str, str]) -> int:
    length = headers.get("Content-Length", "")
    if not length.isdecimal():
        raise Again("the answer has no length")
    return int(length)


def _seconds(headers: Mapping[str, str], name: str) -> float:
    try:
        return parsedate_to_datetime(headers.get(name, "")).timestamp()
    except (TypeError, ValueError) as error:
        raise Again(f"the answer's {name} cannot be read") from error
