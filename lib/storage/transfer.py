"""HTTP exchanges that are repeated while repeating may help; shared by the adapters that speak HTTP."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lib.ports import ByteRange, Clock

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool, PoolManager

CONNECTIONS = 8  # at once for one call
KEPT = 32  # connections kept open, for several calls at once
CONNECT_TIMEOUT = 3.0  # seconds
READ_TIMEOUT = 10.0  # seconds without a byte
FIRST_PAUSE, LONGEST_PAUSE = 0.4, 5.0  # seconds
CHUNK = 256 * 1024  # bytes
UNSIZED_BODY = 16 * 1024 * 1024  # bytes of a body whose size is not known before; a page of a list has ~1 MB

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

T = TypeVar("T")
Item = TypeVar("Item")


class Again(Exception):
    """This try failed for a reason that may be gone next time, `pause` seconds later if given."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause = pause


@dataclass(frozen=True)
class Patience:
    """How long to go on trying: a deadline in seconds for the whole call, and a number of tries."""

    clock: Clock
    deadline: float
    tries: int = 8
    jitter: Callable[[], float] = random.random

    def until(self) -> float:
        return self.clock.now() + self.deadline

    def persist(self, once: Callable[[float], T], until: float, give_up: Callable[[str], Exception]) -> T:
        """The result of `once(seconds left)`; what `give_up(reason)` makes is raised in the end."""
        reason, tried = "no time was left", 0
        while (left := until - self.clock.now()) > 0:
            try:
                return once(left)
            except Again as again:
                reason, tried, pause = again.reason, tried + 1, again.pause
            if tried == self.tries:
                break
            if pause is None:
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tried - 1)) * (1 + self.jitter()) / 2
            if pause >= until - self.clock.now():
                break
            self.clock.sleep(pause)
        raise give_up(f"{reason} ({tried} tries)")


@contextmanager
def exchange(
    pool: HTTPConnectionPool | PoolManager,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    left: float,
) -> Iterator[BaseHTTPResponse]:
    """One request, no redirect followed, the body not yet read. Raises Again when the network fails."""
    from urllib3 import Timeout
    from urllib3.exceptions import HTTPError

    try:
        response = pool.urlopen(
            method,
            url,
            body=body,
            headers={"Accept-Encoding": "identity", "User-Agent": "filmstrip", **headers},
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
            timeout=Timeout(connect=min(CONNECT_TIMEOUT, left), read=min(READ_TIMEOUT, left)),
        )
        try:
            yield response
        finally:
            # A connection whose answer was read to the end is in the pool again by now; others are useless.
            response.close()
    except (HTTPError, OSError) as error:
        # Only kinds and the system's own words: messages of the HTTP client may quote the URL.
        system = error.__cause__ if isinstance(error.__cause__, OSError) else None
        raise Again(f"{type(error).__name__}{f': {system}' if system else ''}") from error


def read_body(response: BaseHTTPResponse, size: int | None, clock: Clock, until: float) -> bytes:
    """The body, of exactly `size` bytes if given, else at most UNSIZED_BODY.

    Raises Again for another size or when time is up.
    """
    limit = UNSIZED_BODY if size is None else size
    parts: list[bytes] = []
    got = 0
    # read1 returns what has come, so a server that drips cannot hold us past the deadline.
    while part := response.read1(CHUNK):
        parts.append(part)
        got += len(part)
        if got > limit:
            raise Again(f"the body has more than {limit} bytes")
        if clock.now() >= until:
            raise Again("the body came too slowly")
    if size is not None and got != size:
        raise Again(f"the body has {got} bytes instead of {size}")
    return b"".join(parts)


def read_range(response: BaseHTTPResponse, span: ByteRange, clock: Clock, until: float) -> tuple[bytes, int]:
    """The bytes of `span` as far as the object goes, and the object's size, from a 206 answer.

    Raises Again when the answer is for other bytes than asked.
    """
    start, end = span
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not match:
        raise Again("the answer does not tell its range")
    first, last, total = map(int, match.groups())
    if first != start or last + 1 != min(end, total):
        raise Again(f"bytes {first}-{last} of {total} came instead of {start}-{end - 1}")
    return read_body(response, last + 1 - first, clock, until), total


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, if the server says so in that form."""
    value = headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"\d{1,6}", value) else None


def check_ranges(ranges: Sequence[ByteRange]) -> None:
    for start, end in ranges:
        if not 0 <= start <= end:
            raise ValueError(f"({start}, {end}) is not a range of bytes")


def in_parallel(work: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """`work` of each item, in order; the first error is raised and what has not begun is dropped."""
    if len(items) < 2:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(CONNECTIONS, len(items))) as threads:
        futures = [threads.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
