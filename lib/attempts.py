"""One attempt of our own engine: claim the task, capture, publish, finish, tell.

No database connection is held while capturing: the lease is renewed now and then from a thread of its own.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from lib import log
from lib.definitions import Definitions
from lib.deliveries import Deliveries
from lib.errors import (
    AttemptSuperseded,
    FilmstripError,
    Gone,
    MediaError,
    ObjectChanged,
    ObjectNotFound,
)
from lib.ports import ByteRange, Clock, Engine, Storage, Task
from lib.publication import Publication
from lib.sprites import Manifest
from lib.tasks import Failure, NotClaimed, Tasks, start

SAFETY = 15.0
"""Seconds before the function's own limit at which an attempt gives up in good order."""


class OutOfTime(FilmstripError):
    """The function's time limit is near."""


class Lease(Protocol):
    def check(self) -> None: ...


class Attempts:
    def __init__(
        self,
        tasks: Tasks,
        deliveries: Deliveries,
        storage: Callable[[], Storage],
        engine: Engine,
        clock: Clock,
        *,
        definitions: Definitions,
        publication: Callable[[str, int], Publication],
        lease: float,
        sweep_after: float,
    ) -> None:
        self._tasks = tasks
        self._deliveries = deliveries
        self._storage = storage
        self._engine = engine
        self._clock = clock
        self._definitions = definitions
        self._publication = publication
        self._lease = lease
        self._sweep_after = sweep_after

    def run(self, task_id: str, *, deadline: float | None = None) -> str:
        """One attempt, if the task is to be had; gives the outcome, 'retry', or why there was nothing to do.

        `deadline` is on the clock of `time.monotonic`. Raises TaskNotFound, DatabaseUnavailable.
        """
        task = self._tasks.claim(task_id)
        if isinstance(task, NotClaimed):
            log.outcome("attempt.skipped", task=task_id, reason=task.reason)
            return task.reason
        started = time.monotonic()
        reader = _Metered()
        try:
            outcome, reason, event_id = self._attempt(task, reader, deadline)
        except AttemptSuperseded as error:
            outcome, reason, event_id = "superseded", str(error), None
        log.outcome(
            f"task.{outcome}",
            level="info" if outcome in ("complete", "partial") else "warning",
            task=task.id,
            key=task.key,
            definition=task.definition,
            attempt=task.attempt,
            reason=reason,
            seconds=round(time.monotonic() - started, 3),
            bytes=reader.bytes,
        )
        if event_id is not None:
            self._deliveries.send(event_id)
        self._start_next()
        return outcome

    def _attempt(self, task: Task, reader: _Metered, deadline: float | None) -> tuple[str, str, str | None]:
        """(outcome, reason, event id)"""
        try:
            with self._held(task, deadline) as lease:
                manifest, result = self._publish(task, reader, lease)
        except AttemptSuperseded:
            raise
        except MediaError as error:
            event_id = self._tasks.fail(
                task, Failure.of(error), bytes_read=reader.bytes, sweep_at=self._sweep_at()
            )
            return error.outcome, str(error), event_id
        except Exception as error:  # noqa: BLE001 - whatever it was, the task must live on
            reason = str(error) if isinstance(error, FilmstripError) else f"{type(error).__name__}: {error}"
            if not isinstance(error, FilmstripError):
                log.outcome(
                    "attempt.crashed", level="error", task=task.id, trace=traceback.format_exc(limit=-6)
                )
            released = self._tasks.release(task, reason, bytes_read=reader.bytes, sweep_at=self._sweep_at())
            return ("timed_out" if released else "retry"), reason, released
        event_id = self._tasks.finish(
            task,
            outcome=manifest.outcome,
            result=result,
            bytes_read=reader.bytes,
            sweep_at=self._sweep_at(),
        )
        return manifest.outcome, "", event_id

    def _sweep_at(self) -> float:
        """However a task ends, what it and killed attempts before it left in the folder is looked at."""
        return self._clock.now() + self._sweep_after

    def _publish(self, task: Task, reader: _Metered, lease: Lease) -> tuple[Manifest, Mapping[str, object]]:
        """Captures where nobody has, and lets the stable names show it. Raises MediaError and storage errors."""
        publication = self._publication(task.key, task.definition)
        source = publication.source()
        etag = task.etag
        if not etag:  # an API task works on the version it finds
            etag = source.etag
            self._tasks.fix_version(task, etag=etag, size=source.size)
        try:
            if source.etag != etag:
                raise Gone(reason="the video was replaced by a newer upload before its sprite was made")
            manifest = publication.finished(etag)
            if manifest is None:
                reader.open(self._storage(), task.key, etag, source.size, lease)
                manifest = self._capture(task, etag, reader, publication, lease)
                lease.check()
                publication.put_manifest(manifest)
            if publication.point() != etag:
                raise Gone(reason="the video was replaced by a newer upload while its sprite was made")
        except (Gone, ObjectNotFound, ObjectChanged) as error:
            publication.discard(etag)
            if isinstance(error, Gone):
                raise
            raise Gone(reason="the video was deleted or replaced while its sprite was made") from error
        return manifest, publication.result(manifest)

    def _capture(
        self, task: Task, etag: str, reader: _Metered, publication: Publication, lease: Lease
    ) -> Manifest:
        from lib.sprites import capture  # the libraries for pictures: only an attempt pays for them

        return capture(
            reader,
            self._definitions.get(task.definition),
            sheet_name=lambda number: publication.sheet_name(etag, number),
            emit=publication.put_sheet,
            source={"bucket": task.bucket, "key": task.key, "etag": etag},
            progress=lambda _done, _total: lease.check(),
        )

    @contextmanager
    def _held(self, task: Task, deadline: float | None) -> Iterator[Lease]:
        heartbeat = _Heartbeat(lambda: self._tasks.renew(task), self._lease / 3, task, deadline)
        heartbeat.start()
        try:
            yield heartbeat
        finally:
            heartbeat.stop()

    def _start_next(self) -> None:
        """A place is free: start what waits for one, without waiting for the timer."""
        for task in self._tasks.take_startable(1):
            start(self._engine, task)


class _Heartbeat:
    """Renews the lease while the attempt works; `check` tells it that the lease was lost or time is up."""

    def __init__(self, renew: Callable[[], None], every: float, task: Task, deadline: float | None) -> None:
        self._renew = renew
        self._every = every
        self._task = task
        self._deadline = deadline
        self._lost = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def check(self) -> None:
        if self._lost:
            raise AttemptSuperseded(task_id=self._task.id, attempt=self._task.attempt)
        if self._deadline is not None and time.monotonic() > self._deadline - SAFETY:
            raise OutOfTime()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            try:
                self._renew()
            except AttemptSuperseded:
                self._lost = True
                return
            except FilmstripError as error:
                # The next beat may get through; if none does, the lease runs out and the fence holds.
                log.outcome("lease.not_renewed", level="warning", task=self._task.id, reason=str(error))


class _Metered:
    """The source as the engine reads it, from several threads: one version of one object, every byte counted.

    The lease is checked at each read: the way to a tile may be long.
    """

    def __init__(self) -> None:
        self.size = 0
        self.bytes = 0
        self._lock = threading.Lock()

    def open(self, storage: Storage, key: str, etag: str, size: int, lease: Lease) -> None:
        self._storage, self._key, self._etag, self.size = storage, key, etag, size
        self._lease = lease

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        self._lease.check()
        blocks = self._storage.read(self._key, ranges, etag=self._etag)
        with self._lock:
            self.bytes += sum(map(len, blocks))
        return blocks
