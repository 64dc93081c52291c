"""A video behind an http(s) URL, read by ranges: for the command line, read only.

Addresses are not guarded here: the URL and its redirects are the choice of whoever types the command.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from lib.errors import Invalid, ObjectChanged, ObjectNotFound, StorageRefused, StorageUnavailable
from lib.ports import ByteRange, Clock
from lib.storage.transfer import (
    KEPT,
    Again,
    Patience,
    check_ranges,
    exchange,
    in_parallel,
    read_range,
    retry_after,
)

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

REDIRECTS = 5


@dataclass(frozen=True)
class _Part:
    data: bytes
    total: int  # bytes of the whole object
    etag: str | None  # None if there is no strong one


class HttpSource:
    """`size` in bytes, `etag` (None without a strong one) and `read(ranges)`.

    Errors name host and path only: the rest of a URL may be a password or a presigned signature.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        deadline: float = 60.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Asks for the first byte to learn the size. `deadline` is seconds for each call.

        Raises Invalid for a URL that is not http(s), StorageRefused when the server ignores ranges,
        ObjectNotFound, StorageUnavailable.
        """
        from urllib3 import PoolManager

        self._first, self._password = _split_login(_checked(url))
        self._url = self._first  # where redirects have led to
        self._clock = clock
        self._patience = Patience(clock, deadline, jitter=jitter)
        self._pools = PoolManager(num_pools=2, maxsize=KEPT)
        self.etag: str | None = None
        part = self._fetch((0, 1), self._patience.until())
        self.size, self.etag = part.total, part.etag

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """The bytes of each range, as far as the object goes, in order; up to 8 requests at once.

        Raises ObjectChanged when the object is not the one seen first, else as the constructor.
        """
        check_ranges(ranges)
        until = self._patience.until()

        def fetch(span: ByteRange) -> bytes:
            if span[0] >= min(span[1], self.size):
                return b""
            part = self._fetch(span, until)
            if part.total != self.size or part.etag != self.etag:
                raise self._changed()
            return part.data

        return in_parallel(fetch, ranges)

    def _fetch(self, span: ByteRange, until: float) -> _Part:
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"}
        if self.etag is not None:
            headers["If-Match"] = f'"{self.etag}"'

        def once(left: float) -> _Part:
            start = url = self._url
            for _ in range(REDIRECTS + 1):
                login = {"Authorization": self._password} if self._password and self._at_home(url) else {}
                with exchange(self._pools, "GET", url, {**headers, **login}, None, left) as response:
                    if response.status in (301, 302, 303, 307, 308):
                        url = self._redirected(url, response.headers.get("Location", ""))
                        continue
                    if response.status in (401, 403, 404, 410) and start != self._first:
                        self._url = self._first  # the place we were sent to was for a while only
                        raise Again(str(response.status), pause=0.0)
                    part = self._part(response, span, until)
                    self._url = url
                    return part
            raise self._refused(f"it redirects more than {REDIRECTS} times")

        return self._patience.persist(once, until, self._unavailable)

    def _part(self, response: BaseHTTPResponse, span: ByteRange, until: float) -> _Part:
        status, headers = response.status, response.headers
        etag = _strong_etag(headers)
        if headers.get("Content-Encoding", "identity") != "identity":
            raise self._refused("it sends the file compressed though asked not to")
        if status == 206:
            data, total = read_range(response, span, self._clock, until)
            return _Part(data, total, etag)
        if status == 416 and (empty := re.fullmatch(r"bytes \*/(\d+)", headers.get("Content-Range", ""))):
            return _Part(b"", int(empty.group(1)), etag)
        if status == 200 and headers.get("Content-Length") == "0":
            return _Part(b"", 0, etag)
        if status == 200:
            raise self._refused("it ignores ranges; download the file first and give its path")
        if status in (404, 410):
            raise ObjectNotFound(**self._place())
        if status == 412:
            raise self._changed()
        if status in (408, 425, 429) or status >= 500:
            raise Again(f"status {status}", retry_after(headers))
        raise self._refused(f"status {status}")

    def _redirected(self, url: str, location: str) -> str:
        try:
            return _split_login(_checked(urljoin(url, location)))[0]
        except (Invalid, ValueError):
            raise self._refused("it redirects to what is not an http(s) URL") from None

    def _at_home(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self._first)[:2]

    def _place(self) -> dict[str, str]:
        parts = urlsplit(self._first)
        return {"bucket": parts.netloc, "key": parts.path}

    def _refused(self, reason: str) -> StorageRefused:
        return StorageRefused(**self._place(), action="reading", reason=reason)

    def _changed(self) -> ObjectChanged:
        return ObjectChanged(**self._place(), etag=self.etag)

    def _unavailable(self, reason: str) -> StorageUnavailable:
        return StorageUnavailable(**self._place(), action="reading", reason=reason)


def _checked(url: str) -> str:
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname and parse_url(url).host)
        usable = usable and parts.port != 0
    except (ValueError, LocationParseError):
        usable = False
    if not usable:
        raise Invalid(field="url", problem="is not an http:// or https:// URL with a host")
    return url


def _split_login(url: str) -> tuple[str, str | None]:
    """The URL without login and fragment, and the login as Basic authorization."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    plain = urlunsplit((parts.scheme.lower(), host.lower(), parts.path or "/", parts.query, ""))
    if not login:
        return plain, None
    pair = login if ":" in login else f"{login}:"
    return plain, "Basic " + base64.b64encode(unquote(pair).encode()).decode()


def _strong_etag(headers: Mapping[str, str]) -> str | None:
    match = re.fullmatch(r'"([^"]+)"', headers.get("ETag", ""))
    return match.group(1) if match else None
