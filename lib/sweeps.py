"""Looks at published folders: do they show the newest upload, and nothing that is over?

A sweep is planned with every end of a task, and with every event that repeats. It is harmless to do again.
"""

from __future__ import annotations

from collections.abc import Callable

from lib import log
from lib.errors import FilmstripError
from lib.ports import Clock, Database, Engine, Row
from lib.publication import Publication
from lib.tasks import Tasks, start

AT_ONCE = 20
LEASE = 600.0
PAUSE = 60.0
"""Seconds at least between two looks at a folder."""


class Sweeps:
    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        engine: Engine,
        clock: Clock,
        *,
        publication: Callable[[str, int], Publication],
        wants: Callable[[str], bool],
        engine_name: str,
        stale_after: float,
    ) -> None:
        """`wants` tells whether an upload of this key gets a sprite."""
        self._database = database
        self._tasks = tasks
        self._engine = engine
        self._clock = clock
        self._publication = publication
        self._wants = wants
        self._engine_name = engine_name
        self._stale_after = stale_after

    def run(self, time_is_up: Callable[[], bool]) -> int:
        """Sweeps what is due; gives how many folders."""
        swept = 0
        while not time_is_up() and (sweeps := self.take(AT_ONCE)):
            for sweep in sweeps:
                try:
                    self._sweep(sweep)
                except FilmstripError as error:
                    log.outcome("sweep.failed", level="warning", key=sweep["key"], reason=str(error))
                    continue
                swept += 1
        return swept

    def take(self, limit: int) -> list[Row]:
        """Folders to look at now, as {file_id, definition, due_at, bucket, key}, for nobody else for a while."""
        with self._database.transaction() as session:
            now = self._clock.now()
            rows = session.all("take_sweeps", now=now, later=now + LEASE, limit=limit)
            media = {row["file_id"]: session.one("media_by_id", file_id=row["file_id"]) for row in rows}
            return [{**(media[row["file_id"]] or {}), **row} for row in rows]

    def end(self, sweep: Row, *, again_at: float | None = None) -> None:
        taken = {name: sweep[name] for name in ("file_id", "definition", "due_at")}
        with self._database.transaction() as session:
            if again_at is None:
                session.run("end_sweep", **taken)
            else:
                session.run("postpone_sweep", later=again_at, **taken)

    def _sweep(self, sweep: Row) -> None:
        publication = self._publication(sweep["key"], sweep["definition"])
        now = self._clock.now()
        older_than = now - self._stale_after
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
                start(self._engine, task)
            elif not self._tasks.is_open(sweep["file_id"], sweep["definition"]):
                publication.discard(swept.missing, older_than=older_than)
        self.end(sweep, again_at=now + max(self._stale_after, PAUSE) if swept.again else None)
