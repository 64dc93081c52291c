"""From an uploaded object to its task: which uploads get sprites, and one task for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lib import keys, log
from lib.errors import FilmstripError, Invalid, ObjectNotFound
from lib.ports import Engine, Storage
from lib.tasks import Tasks, start

if TYPE_CHECKING:
    from lib.validation.cos import CosRecord

LONGEST_ETAG = 128
LARGEST_OBJECT = 1 << 50
"""Bytes; the largest object that COS takes has 48.82 TB."""

What = Literal["opened", "known", "ignored", "refused", "failed"]


@dataclass(frozen=True)
class Taken:
    """What became of one record."""

    what: What
    key: str = ""
    task: str = ""
    reason: str = ""
    error: Exception | None = None


class Intake(list[Taken]):
    """What became of each record of an event."""

    def raise_if_retry_helps(self) -> None:
        """SCF can only repeat the whole event: what is done already will change nothing then.

        An error that is none of ours is raised too: nobody knows whether a retry helps.
        """
        for taken in self:
            if taken.error is not None and getattr(taken.error, "retry_helps", True):
                raise taken.error

    def summary(self) -> list[dict[str, str]]:
        """For the log of the platform; nobody else reads it."""
        return [
            {"what": taken.what, "key": taken.key, "task": taken.task, "reason": taken.reason}
            for taken in self
        ]


@dataclass(frozen=True)
class Rules:
    """Which objects are uploads that get sprites."""

    bucket: str
    watch_prefix: str
    output_prefix: str
    suffixes: Sequence[str]  # lower case, with the dot

    def refuse(self, key: str) -> str:
        """Why the object gets none; "" if it does."""
        if key.startswith(self.output_prefix):
            return f"it lies under the output prefix {self.output_prefix!r}"
        if not key.startswith(self.watch_prefix):
            return f"it lies outside the watched prefix {self.watch_prefix!r}"
        if key.endswith("/"):
            return "it is a folder"
        if not key.lower().endswith(tuple(self.suffixes)):
            return "its suffix is not one of VIDEO_SUFFIXES"
        return ""

    def wants(self, key: str) -> bool:
        return not self.refuse(key)


class Uploads:
    def __init__(
        self,
        tasks: Tasks,
        storage: Callable[[], Storage],
        engine: Engine,
        *,
        rules: Rules,
        definitions: Sequence[int],
        engine_name: str,
    ) -> None:
        self._tasks = tasks
        self._storage = storage
        self._engine = engine
        self._rules = rules
        self._definitions = definitions
        self._engine_name = engine_name

    def take(self, records: Iterable[CosRecord | Invalid]) -> Intake:
        """Each record for itself: one that fails does not hold up the others."""
        intake = Intake()
        for record in records:
            try:
                every = self._take(record)
            except Exception as error:  # noqa: BLE001 - not even one that fails as nobody thought of
                key = "" if isinstance(record, Invalid) else record.key
                every = [Taken("failed", key, reason=f"{type(error).__name__}: {error}", error=error)]
            for taken in every:
                intake.append(taken)
                _tell(taken)
        return intake

    def open_missing(self, record: CosRecord) -> int:
        """Opens the tasks that this upload should have and has not; gives how many. Raises what a retry helps with."""
        if self._rules.refuse(record.key) or keys.problem(record.key):
            return 0
        missing = Intake(taken for taken in self._take(record) if taken.what != "known")
        for taken in missing:
            _tell(taken)
        missing.raise_if_retry_helps()
        return len(missing)

    def _take(self, record: CosRecord | Invalid) -> list[Taken]:
        if isinstance(record, Invalid):
            return [Taken("refused", reason=str(record), error=record)]
        if record.bucket != self._rules.bucket:
            problem = (
                f"{record.bucket!r} is not the bucket of this deployment; BUCKET is {self._rules.bucket!r}"
            )
            return [Taken("refused", record.key, reason=problem)]
        if not record.action.startswith("ObjectCreated"):
            return [Taken("ignored", record.key, reason=f"{record.action} is not an upload")]
        if reason := self._rules.refuse(record.key):
            return [Taken("ignored", record.key, reason=reason)]
        if found := keys.problem(record.key):
            return [Taken("refused", record.key, reason=f"its key cannot be addressed: {found}; rename it")]
        if problem := bad_version(record):
            return [Taken("refused", record.key, reason=problem)]
        return [self._open(record, definition) for definition in self._definitions]

    def _open(self, record: CosRecord, definition: int) -> Taken:
        try:
            opened = self._tasks.open_upload(
                bucket=record.bucket,
                key=record.key,
                etag=record.etag or self._find_etag(record),
                size=record.size,
                definition=definition,
                engine=self._engine_name,
            )
        except FilmstripError as error:
            return Taken("failed", record.key, reason=str(error), error=error)
        what: What = "opened" if opened.new else "known"
        reason = "" if opened.new else "this version has its task already"
        if opened.start and (problem := start(self._engine, opened.task)):
            reason = f"its start is left to the timer: {problem}"
        return Taken(what, record.key, opened.task.id, reason=reason)

    def _find_etag(self, record: CosRecord) -> str:
        """Events of older buckets have no ETag. An object gone by now still gets its task, and its failure event."""
        try:
            return self._storage().head(record.key).etag
        except ObjectNotFound:
            return f"gone-{record.time}"


def bad_version(record: CosRecord) -> str:
    """Why this cannot be what COS says of an object; "" if it can."""
    if len(record.etag) > LONGEST_ETAG or not (record.etag.isascii() and record.etag.isprintable()):
        return f"meta.ETag is none: up to {LONGEST_ETAG} printable ASCII characters are expected"
    if record.size > LARGEST_OBJECT:
        return f"size is more than {LARGEST_OBJECT} bytes, which no object has"
    return ""


_LEVELS: dict[What, str] = {"refused": "error", "failed": "error", "ignored": "info"}


def _tell(taken: Taken) -> None:
    facts: dict[str, Any] = {"key": taken.key, "task": taken.task, "reason": taken.reason}
    log.outcome(f"upload.{taken.what}", level=_LEVELS.get(taken.what, "info"), **facts)
