"""What happens every minute: nothing waits for a message that may never come."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lib import log
from lib.deliveries import EVENTS_KEPT, Deliveries
from lib.errors import AttemptSuperseded, FilmstripError
from lib.ports import Clock, Database, Engine
from lib.scans import Scans
from lib.sweeps import Sweeps
from lib.tasks import Tasks, exhausted, start

STARTS = 100
SENDERS = 8
DAY = 86400.0


@dataclass(frozen=True)
class Ticked:
    started: int
    failed: int
    delivered: int
    swept: int
    found: int
    purged: int


class Timer:
    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        deliveries: Deliveries,
        sweeps: Sweeps,
        scans: Scans,
        engine: Engine,
        clock: Clock,
        *,
        sweep_after: float,
        retention_days: float,
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._deliveries = deliveries
        self._sweeps = sweeps
        self._scans = scans
        self._engine = engine
        self._clock = clock
        self._sweep_after = sweep_after
        self._retention_days = retention_days

    def tick(self, *, deadline: float | None = None) -> Ticked:
        """One round. `deadline` is on the clock of `time.monotonic`: sending and sweeping stop before it."""
        started, failed = self._start_due()
        delivered = self._deliver(deadline)
        swept = self._sweeps.run(lambda: _near(deadline))
        found = self._scan(deadline)
        ticked = Ticked(started, failed, delivered, swept, found, self._purge())
        if any(vars(ticked).values()):
            log.outcome("timer.ticked", **vars(ticked))
        return ticked

    def _scan(self, deadline: float | None) -> int:
        try:
            return self._scans.run(lambda: _near(deadline))
        except FilmstripError as error:
            log.outcome(
                "scan.failed", level="warning", reason=str(error)
            )  # it goes on when its lease is over
            return 0

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
                started += not start(self._engine, task)
        return started, failed

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
