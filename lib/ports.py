"""What the core needs from outside, as Protocols, and the values that cross.

Adapters live in db/, storage/, engines/, invokers/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

Row = Mapping[str, Any]
ByteRange = tuple[int, int]
"""First byte and the byte after the last: (0, 10) is ten bytes."""


class Clock(Protocol):
    """The one source of time, in UNIX seconds."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class Chance(Protocol):
    """The one source of randomness."""

    def hex(self) -> str:
        """32 hexadecimal digits that cannot be guessed."""
        ...

    def decimal(self) -> str:
        """A new `fileId`."""
        ...

    def jitter(self) -> float:
        """A factor around 1."""
        ...


class Session(Protocol):
    """One transaction. Queries are named in db/sql/queries.sql; parameters go by name."""

    def all(self, query: str, **parameters: Any) -> list[Row]: ...

    def one(self, query: str, **parameters: Any) -> Row | None: ...

    def run(self, query: str, **parameters: Any) -> int:
        """Rows touched."""
        ...


class Database(Protocol):
    def transaction(self) -> AbstractContextManager[Session]:
        """A short-lived connection and one transaction on it; commits at the end, rolls back on an error.

        Raises DatabaseUnavailable (a retry helps) when there is no connection to be had.
        """
        ...

    def migrate(self) -> list[str]:
        """Applies what is missing of db/sql/migrations/, in order; gives the names applied."""
        ...


@dataclass(frozen=True)
class StoredObject:
    key: str
    size: int  # bytes
    etag: str  # without quotes
    modified: float  # UNIX seconds


class Storage(Protocol):
    """A bucket. Raises ObjectNotFound, ObjectChanged, KeyRefused, StorageRefused, StorageUnavailable."""

    bucket: str

    def head(self, key: str) -> StoredObject: ...

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[bytes]:
        """The bytes of each range, in order. With `etag`, ObjectChanged if the object is another by now."""
        ...

    def get(self, key: str) -> bytes: ...

    def put(self, key: str, data: bytes, *, content_type: str, cache_control: str) -> None:
        """Writes the whole object or nothing."""
        ...

    def delete(self, key: str) -> None:
        """Deletes the object; that it is gone already is success."""
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[StoredObject]:
        """Objects whose key begins so, in the order of their keys; only those behind the key `after`."""
        ...

    def presign(self, key: str, *, seconds: int) -> str:
        """A URL that anyone may GET for so long."""
        ...


class Invoker(Protocol):
    def invoke(self, function: str, payload: Mapping[str, Any]) -> None:
        """Starts a function and does not wait for it. Raises InvocationFailed, Throttled (429, 432)."""
        ...


@dataclass(frozen=True)
class Task:
    id: str
    origin: str
    file_id: str
    bucket: str
    key: str
    etag: str
    size: int
    definition: int
    engine: str
    state: str
    outcome: str | None
    reason: str
    attempt: int
    reopened: int
    lease_until: float | None
    due_at: float | None
    result: dict[str, Any] | None
    created_at: float
    started_at: float | None
    finished_at: float | None

    @classmethod
    def of(cls, row: Row) -> Task:
        return cls(**{**row, "result": json.loads(row["result"]) if row["result"] else None})


class Engine(Protocol):
    """Who makes the pictures."""

    def start(self, task: Task) -> None:
        """Sets the capture going. Raises Throttled, InvocationFailed; the timer tries again."""
        ...


@dataclass(frozen=True)
class Answer:
    status: int
    retry_after: float | None  # seconds, from Retry-After


class Sender(Protocol):
    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One POST. Raises AddressRefused, SendFailed; an answer of any status is returned."""
        ...
