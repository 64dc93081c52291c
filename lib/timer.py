"""What happens every minute: nothing waits for a message that may never come."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lib import log
from lib.attempts import Attempts
from lib.deliveries import EVENTS_KEPT, Deliveries
from lib.errors import AttemptSuperseded, FilmstripError, InvocationFailed
from lib.ports import Clock, Database, Engine, Row
from lib.tasks import Task, Tasks, exhausted

STARTS = 100
SWEEPS = 20
SWEEP_PAUSE = 60.0
"""Seconds at least between two looks at a folder."""
SENDERS = 8
DAY = 86400.0


@dataclass(frozen=True)
class Ticked:
    started: int
    failed: int
    delivered: int
    swept: int
    purged: int


class Timer:
    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        deliveries: Deliveries,
        attempts: Attempts,
        engine: Engine,
        clock: Clock,
        *,
        wants: Callable[[str], bool],
        engine_name: str,
        sweep_after: float,
        retention_days: float,
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._deliveries = deliveries
        self._attempts = attempts
        self._engine = engine
        self._clock = clock
        self._wants = wants
        self._engine_name = engine_name
        self._sweep_after = sweep_after
        self._retention_days = retention_days

    def tick(self, *, deadline: float | None = None) -> Ticked:
        """One round. `deadline` is on the clock of `time.monotonic`: sending and sweeping stop before it."""
        started, failed = self._start_due()
        delivered = self._deliver(deadline)
        swept = self._sweep(deadline)
        ticked = Ticked(started, failed, delivered, swept, self._purge())
        if any(vars(ticked).values()):
            log.outcome("timer.ticked", **vars(ticked))
        return ticked

    def _start_due(self) -> tuple[int, int]:
        started = failed = 0
        for task in self._tasks.take_due(STARTS):
            if (failure := exhausted(task)) is not None:
                try:
                    self._tasks.fail(task, failure, sweep_at=self._clock.now() + self._sweep_after)
                except AttemptSuperseded:
                    continue
                failed += 1
                log.outcome(
                    f"task.{failure.outcome}",
                    level="error",
                    task=task.id,
                    key=task.key,
                    reason=failure.reason,
                )
            else:
                started += self._start(task)
        return started, failed

    def _start(self, task: Task) -> bool:
        try:
            self._engine.start(task)
        except InvocationFailed as error:
            log.outcome("task.not_started", level="warning", task=task.id, reason=str(error))
            return False
        return True

    def _deliver(self, deadline: float | None) -> int:
        def send(event_id: str) -> bool:
            return not _near(deadline) and self._deliveries.send(event_id) == "delivered"

        delivered = 0
        while due := self._deliveries.due():
            with ThreadPoolExecutor(min(SENDERS, len(due))) as pool:
                taken = sum(pool.map(send, due))
            delivered += taken
            if not taken:  # nobody takes them now, or time is up
                break
        return delivered

    def _sweep(self, deadline: float | None) -> int:
        swept = 0
        while not _near(deadline) and (sweeps := self._tasks.take_sweeps(SWEEPS)):
            for sweep in sweeps:
                try:
                    self._sweep_folder(sweep)
                except FilmstripError as error:
                    log.outcome("sweep.failed", level="warning", key=sweep["key"], reason=str(error))
                    continue
                swept += 1
        return swept

    def _sweep_folder(self, sweep: Row) -> None:
        publication = self._attempts.publication(sweep["key"], sweep["definition"])
        now = self._clock.now()
        older_than = now - self._sweep_after
        swept = publication.sweep(older_than=older_than)
        if swept.missing and self._wants(sweep["key"]):
            task = self._tasks.restore(
                bucket=sweep["bucket"],
                key=sweep["key"],
                etag=swept.missing,
                size=publication.source().size,
                definition=sweep["definition"],
                engine=self._engine_name,
                looked_at=now,
            )
            if task is not None:
                log.outcome("task.restored", task=task.id, key=task.key)
                self._start(task)
            elif not self._tasks.is_open(sweep["file_id"], sweep["definition"]):
                publication.discard(swept.missing, older_than=older_than)
        again_at = now + max(self._sweep_after, SWEEP_PAUSE) if swept.again else None
        self._tasks.end_sweep(sweep, again_at=again_at)

    def _purge(self) -> int:
        now = self._clock.now()
        kept_since = now - self._retention_days * DAY
        with self._database.transaction() as session:
            return (
                session.run("purge_events", before=now - EVENTS_KEPT)
                + session.run("purge_deliveries", before=kept_since)
                + session.run("purge_attempts", before=kept_since)
            )


def _near(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline - 10.0
