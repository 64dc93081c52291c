"""Whole Filmstrips in processes of their own, which can be killed or stopped at any named point of their work.

Points are reached in the adapters that the classes of lib get: a statement inside its transaction ("sql add_task"),
its commit ("committed add_task"), a read of the source, each object put,
the callback sent. Nothing in lib knows of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lib.attempts import Attempts
from lib.db import queries as sql
from lib.db.postgres import PostgresDatabase
from lib.definitions import Definitions
from lib.deliveries import Deliveries
from lib.engines.own import OwnEngine
from lib.local.watcher import cos_event
from lib.netguard import Guard
from lib.ports import Answer, ByteRange, Row, Session, StoredObject
from lib.publication import Publication
from lib.scans import Scans
from lib.sender import HttpSender
from lib.sprites import Definition
from lib.storage.folder import FolderStorage
from lib.sweeps import Sweeps
from lib.system import SystemChance, SystemClock
from lib.tasks import Tasks
from lib.timer import Timer
from lib.uploads import Rules, Uploads
from lib.validation import cos
from tests.conftest import open_database

BUCKET = "media-1250000000"
DEFINITION = Definition(number=20, name="three sheets", width=32, height=24, rows=1, columns=1, interval=0.7)
LEASE, STALE = 60.0, 3600.0

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__, "lib.db.postgres", "lib.db.sqlite", "lib.sprites"])


@dataclass(frozen=True)
class Place:
    """Where a Filmstrip works."""

    database_url: str
    folder: Path
    callback_url: str = ""


@dataclass
class Points:
    """What the machine passes on its way, in order; at `until`, passed the `nth` time, it gets the signal."""

    until: str = ""
    nth: int = 1
    signal: signal.Signals = signal.SIGKILL
    passed: list[str] = field(default_factory=list)

    def reach(self, name: str) -> None:
        self.passed.append(name)
        if name == self.until and self.passed.count(name) == self.nth:
            os.kill(os.getpid(), self.signal)


@dataclass(frozen=True)
class Work:
    """What a machine does in its life."""

    upload: str = ""
    """The key of the object that the event tells of."""
    times: int = 1
    """How often the event comes."""
    ticks: Sequence[float] = ()
    """Seconds that its clock is ahead, for each round of the timer; `ahead` for the upload."""
    ahead: float = 0.0
    until: str = ""
    nth: int = 1
    signal: signal.Signals = signal.SIGKILL
    fenced: bool = True


class AheadClock(SystemClock):
    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class _Database:
    def __init__(self, url: str, points: Points) -> None:
        self._database = open_database(url)
        self._points = points

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with self._database.transaction() as session:
            observed = _Session(session, self._points)
            yield observed
        for query in observed.ran:
            self._points.reach(f"committed {query}")

    def migrate(self) -> list[str]:
        return self._database.migrate()


class _Session:
    def __init__(self, session: Session, points: Points) -> None:
        self._session = session
        self._points = points
        self.ran: list[str] = []

    def _tell(self, query: str) -> None:
        self.ran.append(query)
        self._points.reach(f"sql {query}")

    def all(self, query: str, **parameters: Any) -> list[Row]:
        rows = self._session.all(query, **parameters)
        self._tell(query)
        return rows

    def one(self, query: str, **parameters: Any) -> Row | None:
        row = self._session.one(query, **parameters)
        self._tell(query)
        return row

    def run(self, query: str, **parameters: Any) -> int:
        rows = self._session.run(query, **parameters)
        self._tell(query)
        return rows


class _Storage(FolderStorage):
    points: Points

    def head(self, key: str) -> StoredObject:
        stored = super().head(key)
        if key.startswith("videos/"):
            self.points.reach("looked at")
        return stored

    def read(self, key: str, ranges: Sequence[ByteRange], *, etag: str | None = None) -> list[bytes]:
        blocks = super().read(key, ranges, etag=etag)
        self.points.reach("read")
        return blocks

    def put(self, key: str, data: bytes, *, content_type: str, cache_control: str) -> None:
        name = key.rpartition("/")[2]
        kind = {".jpg": "sheet", ".vtt": "index"}.get(name[-4:]) or (
            "manifest of the version" if name.startswith("sprite_") else "manifest"
        )
        self.points.reach(f"before {kind}")
        super().put(key, data, content_type=content_type, cache_control=cache_control)
        self.points.reach(f"put {kind}")


class _Sender(HttpSender):
    points: Points

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.points.reach("before sending")
        answer = super().send(url, body, headers)
        self.points.reach("sent")
        return answer


class _Invocations(list[str]):
    """An invoker for one machine: what is started runs after what starts it."""

    def invoke(self, function: str, payload: Mapping[str, Any]) -> None:
        self.append(str(payload["task"]))


class Machine:
    """One Filmstrip on a place."""

    def __init__(self, place: Place, points: Points | None = None) -> None:
        self.points = points or Points()
        self.clock = AheadClock()
        self.database = _Database(place.database_url, self.points)
        self.storage = _Storage(place.folder, BUCKET, base_url="", clock=self.clock)
        self.storage.points = self.points
        sender = _Sender(Guard(["127.0.0.0/8"]))
        sender.points = self.points
        self.invocations = _Invocations()
        engine, chance = OwnEngine(self.invocations), SystemChance()
        self.deliveries = Deliveries(
            self.database, sender, self.clock, chance, callback_url=place.callback_url, keys=None
        )
        self.tasks = Tasks(
            self.database, self.deliveries, self.clock, chance, lease=LEASE, captures_at_once=10
        )
        self.attempts = Attempts(
            self.tasks,
            self.deliveries,
            lambda: self.storage,
            engine,
            self.clock,
            definitions=Definitions({DEFINITION.number: DEFINITION}),
            publication=self.publication,
            lease=LEASE,
            sweep_after=STALE,
        )
        rules = Rules(BUCKET, "videos/", "sprites/", [".mp4"])
        self.uploads = Uploads(
            self.tasks,
            lambda: self.storage,
            engine,
            rules=rules,
            definitions=[DEFINITION.number],
            engine_name="own",
        )
        scans = Scans(
            self.database, lambda: self.storage, self.uploads, self.clock, prefix="videos/", every=0
        )
        sweeps = Sweeps(
            self.database,
            self.tasks,
            engine,
            self.clock,
            publication=self.publication,
            wants=rules.wants,
            engine_name="own",
            stale_after=STALE,
        )
        self.timer = Timer(
            self.database,
            self.tasks,
            self.deliveries,
            sweeps,
            scans,
            engine,
            self.clock,
            sweep_after=STALE,
            retention_days=30,
        )

    def publication(self, key: str, definition: int) -> Publication:
        return Publication(
            self.storage,
            output_prefix="sprites/",
            public_base_url="https://cdn.example",
            key=key,
            definition=DEFINITION,
        )

    def work(self, work: Work) -> None:
        self.clock.ahead = work.ahead
        for _ in range(work.times if work.upload else 0):
            self.upload(work.upload)
        for ahead in work.ticks:
            self.clock.ahead = ahead
            self.timer.tick()
            self.run()

    def upload(self, *keys: str) -> None:
        """The event of these objects, and all that it starts."""
        self.points.reach("received")
        stored = [FolderStorage.head(self.storage, key) for key in keys]
        self.uploads.take(cos.parse(cos_event(BUCKET, "ap-guangzhou", stored))).raise_if_retry_helps()
        self.run()

    def run(self) -> None:
        while self.invocations:
            self.attempts.run(self.invocations.pop(0))


def live(place: Place, work: Work) -> None:
    """The life of a machine, in a process of its own."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - its log is nobody's
    PostgresDatabase.stuck = 1.0
    if not work.fenced:
        fence = " and state = 'running' and attempt = :attempt"
        finish = sql.queries()["finish_task"]
        sql.queries()["finish_task"] = " ".join(finish.split()).replace(fence, "")
    Machine(place, Points(work.until, work.nth, work.signal)).work(work)


def start(place: Place, work: Work) -> Any:
    process = PROCESSES.Process(target=live, args=(place, work), daemon=True)
    process.start()
    return process


def run(place: Place, work: Work) -> int:
    """Its exit code: 0, or minus the signal that ended it."""
    process = start(place, work)
    process.join(120)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{work} does not end")
    return int(process.exitcode)


def again(work: Work) -> Work:
    """The same event, after the lease of whoever died with it."""
    return replace(work, until="", ahead=LEASE + 10)


LATER = Work(ticks=[LEASE + 20, 2 * LEASE, 3 * LEASE, STALE + 5 * LEASE, STALE + 6 * LEASE])
"""The timer goes on for an hour."""
