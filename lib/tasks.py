"""The life of a task: one capture of one media with one definition.

    open ──▶ waiting ──claim──▶ running ──finish──▶ finished (complete, partial, or failed by name)
               ▲                  │  │
               └─────release──────┘  └─ lease runs out: the timer starts the next attempt,
                  (a retry helps)       or, after ATTEMPTS, finishes it as timed_out

Every claim makes a new attempt with a higher number; a task that is reopened counts from one again, and counts how
often it was reopened. Both numbers are the fence: an attempt that lost its lease matches no row any more, so a late
one loses, always. State and outgoing event change in one transaction.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lib import log
from lib.deliveries import Deliveries
from lib.errors import (
    FAILURES,
    AttemptSuperseded,
    InvocationFailed,
    MediaError,
    TaskNotFound,
    TimedOut,
)
from lib.ports import Chance, Clock, Database, Engine, Row, Session, Task

ATTEMPTS = 3
START_GRACE = 60.0
"""Seconds until the timer starts a task whose invocation never arrived."""

RETRY_AFTER = (20.0, 120.0)
"""Seconds before the second and the third attempt."""


@dataclass(frozen=True)
class Opened:
    task: Task
    new: bool
    start: bool
    """False where all places are taken: the attempt that ends next starts it."""


@dataclass(frozen=True)
class NotClaimed:
    reason: Literal["leased", "finished", "exhausted", "no free place"]


@dataclass(frozen=True)
class Failure:
    """Why a task ends without pictures."""

    outcome: str
    status: int
    reason: str

    @classmethod
    def of(cls, error: MediaError) -> Failure:
        return cls(error.outcome, error.status, str(error))


class Tasks:
    def __init__(
        self,
        database: Database,
        deliveries: Deliveries,
        clock: Clock,
        chance: Chance,
        *,
        lease: float,
        captures_at_once: int,
    ) -> None:
        self._database = database
        self._deliveries = deliveries
        self._clock = clock
        self._chance = chance
        self._lease = lease
        self._captures_at_once = captures_at_once

    def open_upload(
        self, *, bucket: str, key: str, etag: str, size: int, definition: int, engine: str
    ) -> Opened:
        """The one task of this version and definition; a repeat gives the one that is there already."""
        with self._database.transaction() as session:
            row = self._insert(session, "upload", bucket, key, etag, size, definition, engine)
            if row is not None:
                return self._opened(session, row)
            row = session.one("upload_task", bucket=bucket, key=key, etag=etag, definition=definition)
            if row is None:
                raise TaskNotFound(task_id=f"for {key!r}")
            task, now = Task.of(row), self._clock.now()
            if task.state == "finished":
                # A repeated event, or an old version uploaded again: the sweep finds out which.
                self._plan_sweep(session, task, at=now)
            # A repeat may come because whoever took the event died before the start.
            due = task.due_at is not None and task.due_at <= now
            return Opened(task, new=False, start=due and self._free_places(session) > 0)

    def open_request(self, *, file_id: str, definition: int, engine: str) -> Opened | None:
        """A task of its own for every accepted call; None where the media is not known."""
        with self._database.transaction() as session:
            media = session.one("media_by_id", file_id=file_id)
            if media is None:
                return None
            row = self._insert(session, "api", media["bucket"], media["key"], "", 0, definition, engine)
            return self._opened(session, row) if row is not None else None

    def _insert(
        self,
        session: Session,
        origin: str,
        bucket: str,
        key: str,
        etag: str,
        size: int,
        definition: int,
        engine: str,
    ) -> Row | None:
        now = self._clock.now()
        session.run("add_media", file_id=self._chance.decimal(), bucket=bucket, key=key, now=now)
        media = session.one("media_by_key", bucket=bucket, key=key)
        if media is None:
            raise TaskNotFound(task_id=f"for {key!r}")
        return session.one(
            "add_task",
            id=f"CreateImageSprite-{self._chance.hex()}",
            origin=origin,
            file_id=media["file_id"],
            bucket=bucket,
            key=key,
            etag=etag,
            size=size,
            definition=definition,
            engine=engine,
            due_at=now + START_GRACE,
            now=now,
        )

    def _opened(self, session: Session, row: Row) -> Opened:
        task = Task.of(row)
        start = self._free_places(session) > 0
        if not start:
            session.run("postpone_task", id=task.id, due_at=self._clock.now())
        return Opened(task, new=True, start=start)

    def _free_places(self, session: Session) -> int:
        counted = session.one("count_captures", now=self._clock.now())
        return self._captures_at_once - int(counted["running"] if counted else 0)

    def claim(self, task_id: str) -> Task | NotClaimed:
        """Starts the next attempt. Raises TaskNotFound."""
        with self._database.transaction() as session:
            session.run("lock_captures")
            now = self._clock.now()  # not before: a connection and the lock may have to be waited for
            row = session.one("task", id=task_id)
            if row is None:
                raise TaskNotFound(task_id=task_id)
            if row["state"] == "finished":
                return NotClaimed("finished")
            if row["state"] == "running" and row["lease_until"] >= now:
                return NotClaimed("leased")
            if row["attempt"] >= ATTEMPTS:
                return NotClaimed("exhausted")
            if self._free_places(session) <= 0:
                session.run("postpone_task", id=task_id, due_at=now)
                return NotClaimed("no free place")
            now = self._clock.now()  # after the end of whose place this takes
            claimed = session.one(
                "claim_task", id=task_id, now=now, until=now + self._lease, attempts=ATTEMPTS
            )
            if claimed is None:
                return NotClaimed("leased")
            session.run("add_attempt", task_id=task_id, attempt=claimed["attempt"], now=now)
            return Task.of(claimed)

    def renew(self, task: Task) -> None:
        """Keeps the lease. Raises AttemptSuperseded."""
        with self._database.transaction() as session:
            until = self._clock.now() + self._lease
            if session.one("renew_lease", **_fence(task), until=until) is None:
                raise AttemptSuperseded(task_id=task.id, attempt=task.attempt)

    def fix_version(self, task: Task, *, etag: str, size: int) -> None:
        """An API task works on the version it finds."""
        with self._database.transaction() as session:
            session.run("fix_version", **_fence(task), etag=etag, size=size)

    def finish(
        self, task: Task, *, outcome: str, result: Mapping[str, Any], bytes_read: int, sweep_at: float
    ) -> str:
        """Ends the task with its pictures; gives the event's id. Raises AttemptSuperseded."""
        data = {
            "status": 0,
            "message": "",
            "vodTaskId": task.id,
            "fileId": task.file_id,
            "definition": task.definition,
            "totalCount": result["totalCount"],
            "imageSpriteUrl": result["imageSpriteUrl"],
            "webVttUrl": result["webVttUrl"],
        }
        with self._database.transaction() as session:
            event_id = self._end(session, task, outcome, "", result, data, bytes_read)
            self._plan_sweep(session, task, at=sweep_at)
            return event_id

    def fail(
        self, task: Task, failure: Failure, *, bytes_read: int = 0, sweep_at: float | None = None
    ) -> str:
        """Ends the task by the name of its failure; gives the event's id. Raises AttemptSuperseded."""
        data = {
            "status": failure.status,
            "message": failure.reason,
            "vodTaskId": task.id,
            "fileId": task.file_id,
        }
        with self._database.transaction() as session:
            event_id = self._end(session, task, failure.outcome, failure.reason, None, data, bytes_read)
            if sweep_at is not None:
                self._plan_sweep(session, task, at=sweep_at)
            return event_id

    def _end(
        self,
        session: Session,
        task: Task,
        outcome: str,
        reason: str,
        result: Mapping[str, Any] | None,
        data: Mapping[str, Any],
        bytes_read: int,
    ) -> str:
        now = self._clock.now()
        finished = session.one(
            "finish_task",
            **_fence(task),
            outcome=outcome,
            reason=reason,
            result=json.dumps(result, ensure_ascii=False) if result is not None else None,
            now=now,
        )
        if finished is None:
            raise AttemptSuperseded(task_id=task.id, attempt=task.attempt)
        self._end_attempt(session, task, outcome, reason, bytes_read)
        return self._deliveries.record(session, task.id, "CreateImageSpriteComplete", data)

    def _end_attempt(self, session: Session, task: Task, outcome: str, reason: str, bytes_read: int) -> None:
        session.run(
            "end_attempt",
            task_id=task.id,
            attempt=task.attempt,
            now=self._clock.now(),
            outcome=outcome,
            reason=reason,
            bytes_read=bytes_read,
        )

    def release(
        self, task: Task, reason: str, *, bytes_read: int = 0, sweep_at: float | None = None
    ) -> str | None:
        """Gives the attempt up for a later one; the last one fails the task: then the event's id.

        Raises AttemptSuperseded.
        """
        if task.attempt >= ATTEMPTS:
            return self.fail(
                task,
                Failure.of(TimedOut(reason=f"{ATTEMPTS} attempts failed: {reason}")),
                bytes_read=bytes_read,
                sweep_at=sweep_at,
            )
        due_at = self._clock.now() + RETRY_AFTER[task.attempt - 1] * self._chance.jitter()
        with self._database.transaction() as session:
            if not session.one("release_task", **_fence(task), reason=reason, due_at=due_at):
                raise AttemptSuperseded(task_id=task.id, attempt=task.attempt)
            self._end_attempt(session, task, "retry", reason, bytes_read)
        return None

    def take_due(self, limit: int) -> list[Task]:
        """What the timer looks at now: tasks to start, and those whose last attempt died without a word."""
        with self._database.transaction() as session:
            now = self._clock.now()
            rows = session.all(
                "take_exhausted", now=now, later=now + START_GRACE, limit=limit, attempts=ATTEMPTS
            )
        return [*map(Task.of, rows), *self.take_startable(limit)]

    def take_startable(self, limit: int) -> list[Task]:
        """Tasks to start now: waiting too long, or held by an attempt whose lease ran out."""
        with self._database.transaction() as session:
            # Two that take at once would see the same tasks, and one of them go away with nothing.
            session.run("lock_captures")
            now = self._clock.now()
            free = min(limit, self._free_places(session))
            if free <= 0:
                return []
            rows = session.all("take_due", now=now, later=now + START_GRACE, limit=free, attempts=ATTEMPTS)
            return [Task.of(row) for row in rows]

    def _plan_sweep(self, session: Session, task: Task, *, at: float) -> None:
        session.run("plan_sweep", file_id=task.file_id, definition=task.definition, due_at=at)

    def is_open(self, file_id: str, definition: int) -> bool:
        """Whether any task of this media and definition is not finished."""
        with self._database.transaction() as session:
            return bool(session.all("open_tasks", file_id=file_id, definition=definition))

    def restore(
        self,
        *,
        bucket: str,
        key: str,
        etag: str,
        size: int,
        definition: int,
        engine: str,
        looked_at: float = math.inf,
    ) -> Task | None:
        """A task for the version that is in the bucket but has no pictures; None where one is on its way or failed.

        Its event was lost, or the version was replaced, lost its pictures, and was uploaded again. A task that
        finished after `looked_at` may well have made the pictures since.
        """
        with self._database.transaction() as session:
            row = self._insert(session, "upload", bucket, key, etag, size, definition, engine)
            if row is None:
                row = session.one("upload_task", bucket=bucket, key=key, etag=etag, definition=definition)
                if row is None or row["outcome"] not in ("complete", "partial", "gone"):
                    return None
                if row["finished_at"] >= looked_at:
                    return None
                row = session.one("reopen_task", id=row["id"], now=self._clock.now())
                if row is not None:
                    session.run("forget_attempts", task_id=row["id"])
        return Task.of(row) if row else None

    def reopen(self, task_id: str) -> Task:
        """Starts a finished task anew, with all its attempts before it; a running one stays as it is.

        Raises TaskNotFound.
        """
        with self._database.transaction() as session:
            row = session.one("reopen_task", id=task_id, now=self._clock.now())
            if row is not None:
                session.run("forget_attempts", task_id=task_id)
            else:
                row = session.one("task", id=task_id)
        if row is None:
            raise TaskNotFound(task_id=task_id)
        return Task.of(row)

    def get(self, task_id: str) -> Task:
        """Raises TaskNotFound."""
        with self._database.transaction() as session:
            row = session.one("task", id=task_id)
        if row is None:
            raise TaskNotFound(task_id=task_id)
        return Task.of(row)

    def newest(self, *, state: str = "", limit: int = 50) -> list[Task]:
        with self._database.transaction() as session:
            return [Task.of(row) for row in session.all("tasks_newest", state=state, limit=limit)]

    def attempts(self, task_id: str) -> list[Row]:
        with self._database.transaction() as session:
            return session.all("attempts_of_task", task_id=task_id)


def _fence(task: Task) -> dict[str, Any]:
    return {"id": task.id, "attempt": task.attempt, "reopened": task.reopened}


def start(engine: Engine, task: Task) -> str:
    """Sets the capture going; "" or the reason why that is left to the timer."""
    try:
        engine.start(task)
    except InvocationFailed as error:
        log.outcome("task.not_started", level="warning", task=task.id, reason=str(error))
        return str(error)
    return ""


def exhausted(task: Task) -> Failure | None:
    """A task whose last attempt died without a word."""
    if task.state == "running" and task.attempt >= ATTEMPTS:
        return Failure.of(FAILURES["timed_out"](reason=f"{ATTEMPTS} attempts were killed or ran out of time"))
    return None
