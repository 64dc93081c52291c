"""Looks through the bucket for uploads whose event was lost: all tries of on_upload failed, or none was made.

Only objects that are newer than the last scan are looked up; what was there before the first scan is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

from lib import log
from lib.ports import Clock, Database, Row, Storage
from lib.uploads import Uploads
from lib.validation.cos import CosRecord

LEASE = 600.0
MARGIN = 900.0
"""Seconds that clocks may differ and an upload may take until it is listed."""

YOUNG = 300.0
"""Seconds in which an event may still be on its way."""


class Scans:
    def __init__(
        self,
        database: Database,
        storage: Callable[[], Storage],
        uploads: Uploads,
        clock: Clock,
        *,
        prefix: str,
        every: float,
    ) -> None:
        """`every`: seconds between two scans; 0 is never."""
        self._database = database
        self._storage = storage
        self._uploads = uploads
        self._clock = clock
        self._prefix = prefix
        self._every = every

    def run(self, time_is_up: Callable[[], bool]) -> int:
        """Scans, if it is time to; gives how many uploads had no task."""
        now = self._clock.now()
        if not self._every:
            return 0
        with self._database.transaction() as session:
            scan = session.one("take_scan", name="bucket", now=now, later=now + LEASE)
        if scan is None:
            return 0
        if not scan["since"]:
            self._note(since=now, started_at=now)
            return 0
        return self._scan(scan, scan["started_at"] if scan["after_key"] else now, time_is_up)

    def _scan(self, scan: Row, started_at: float, time_is_up: Callable[[], bool]) -> int:
        opened = 0
        for stored in self._storage().list(self._prefix, after=scan["after_key"]):
            if scan["since"] - MARGIN <= stored.modified < self._clock.now() - YOUNG:
                record = CosRecord(
                    "ObjectCreated:Scan",
                    self._storage().bucket,
                    stored.key,
                    stored.etag,
                    stored.size,
                    int(stored.modified),
                )
                opened += self._uploads.open_missing(record)
            if time_is_up():
                self._note(since=scan["since"], started_at=started_at, after_key=stored.key)
                return opened
        self._note(since=started_at - YOUNG, started_at=started_at)
        log.outcome("scan.done", opened=opened)
        return opened

    def _note(self, *, since: float, started_at: float, after_key: str = "") -> None:
        due_at = self._clock.now() + (0 if after_key else self._every)
        with self._database.transaction() as session:
            session.run(
                "note_scan",
                name="bucket",
                due_at=due_at,
                since=since,
                started_at=started_at,
                after_key=after_key,
            )
