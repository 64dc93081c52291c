"""Records that COS merged into one event do not share their fate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lib.deliveries import Deliveries
from lib.errors import DatabaseUnavailable, InvocationFailed, Throttled
from lib.local.watcher import cos_event
from lib.ports import Database, Row, Session, StoredObject, Task
from lib.tasks import START_GRACE, Tasks
from lib.uploads import Rules, Uploads
from lib.validation import cos
from tests.conftest import CountingChance, FrozenClock, open_database
from tests.senders import RecordingSender

BUCKET = "media-1250000000"
RECORDS = 100
INVOCATIONS = 3

GOOD = (
    "plain",
    "no answer once",
    "no answer twice",
    "lost commit",
    "not started",
    "throttled",
    "bug at the start",
)
RETRIES = {"no answer once": 1, "no answer twice": 2, "lost commit": 1, "bug at the start": 1}
"""Invocations until it is taken, beyond the first."""

LEFT_TO_THE_TIMER = ("lost commit", "not started", "throttled", "bug at the start")
POISONED = {
    "no key": "cosObject.key",
    "other bucket": "is not the bucket of this deployment",
    "control character": "control characters",
    "half a character": "unicode",
    "key too long": "at most 850",
    "dot segment": "segment that is . or ..",
    "size as text": "cosObject.size",
    "size too large": "size is more than",
    "etag with a zero byte": "meta.ETag",
    "etag with half a character": "meta.ETag",
    "etag too long": "meta.ETag",
    "not a record": "valid dictionary",
}

ODD_ETAGS = {
    "etag with a zero byte": "a\0b",
    "etag with half a character": "a\ud800b",
    "etag too long": "e" * 4000,
}


def record(number: int, kind: str) -> Any:
    key = f"videos/{number}.mp4"
    [made] = cos_event(BUCKET, "ap-guangzhou", [StoredObject(key, 1000, f"{number:032x}", 0.0)])["Records"]
    if kind == "not a record":
        return number
    where, about = made["cos"]["cosBucket"], made["cos"]["cosObject"]
    prefix = about["key"].removesuffix(key)
    odd_keys = {
        "control character": f"videos/\0{number}.mp4",
        "half a character": f"videos/\ud800{number}.mp4",
        "key too long": f"videos/{'x' * 5000}{number}.mp4",
        "dot segment": f"videos/../{number}.mp4",
    }
    if kind in odd_keys:
        about.update(key=prefix + odd_keys[kind], url="")
    elif kind == "no key":
        del about["key"]
    elif kind == "other bucket":
        where["name"] = "other"
        about.update(key=f"/1250000000/other/{key}", url="")
    elif kind.startswith("size"):
        about["size"] = "many" if kind == "size as text" else 10**30
    elif kind.startswith("etag"):
        about["meta"]["ETag"] = ODD_ETAGS[kind]
    return made


BEFORE, AFTER = "too many clients already", "server closed the connection unexpectedly"
FAULTS = {"no answer once": [BEFORE], "no answer twice": [BEFORE, BEFORE], "lost commit": [AFTER]}


def number_of(key: str) -> int:
    return int(key.removeprefix("videos/").removesuffix(".mp4"))


class FailingDatabase:
    """Fails as its records are to: before the commit, or after it, when nobody knows whether it was done."""

    def __init__(self, database: Database, kinds: Sequence[str]) -> None:
        self._database = database
        self._faults = {number: [*FAULTS.get(kind, [])] for number, kind in enumerate(kinds)}

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with self._database.transaction() as session:
            watched = WatchedSession(session)
            yield watched
            faults = self._faults[number_of(watched.key)] if watched.key else []
            fault = faults.pop() if faults else ""
            if fault == BEFORE:
                raise DatabaseUnavailable(reason=fault)
        if fault == AFTER:
            raise DatabaseUnavailable(reason=fault)

    def migrate(self) -> list[str]:
        return self._database.migrate()


class WatchedSession:
    def __init__(self, session: Session) -> None:
        self._session = session
        self.key = ""

    def all(self, query: str, **parameters: Any) -> list[Row]:
        self.key = str(parameters.get("key", self.key))
        return self._session.all(query, **parameters)

    def one(self, query: str, **parameters: Any) -> Row | None:
        self.key = str(parameters.get("key", self.key))
        return self._session.one(query, **parameters)

    def run(self, query: str, **parameters: Any) -> int:
        self.key = str(parameters.get("key", self.key))
        return self._session.run(query, **parameters)


class FailingEngine:
    """Does not start what is not to be started."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self._kinds = kinds
        self.started: list[str] = []

    def start(self, task: Task) -> None:
        kind = self._kinds[number_of(task.key)]
        if kind == "not started":
            raise InvocationFailed(function="on_task", reason="connection reset")
        if kind == "throttled":
            raise Throttled(function="on_task", reason="432")
        if kind == "bug at the start":
            raise ZeroDivisionError
        self.started.append(task.key)


def check(database: Database, kinds: Sequence[str]) -> None:
    # GIVEN an event of many records, of which any may fail in any way
    event = {"Records": [record(number, kind) for number, kind in enumerate(kinds)]}
    good = [f"videos/{number}.mp4" for number, kind in enumerate(kinds) if kind in GOOD]
    clock, engine = FrozenClock(), FailingEngine(kinds)
    failing = FailingDatabase(database, kinds)
    sender = RecordingSender()
    deliveries = Deliveries(failing, sender, clock, CountingChance(), callback_url="", keys=None)
    tasks = Tasks(failing, deliveries, clock, CountingChance(), lease=60.0, captures_at_once=1000)
    uploads = Uploads(
        tasks,
        lambda: pytest.fail("every record has its ETag"),
        engine,
        rules=Rules(BUCKET, "videos/", "sprites/", [".mp4"]),
        definitions=[10],
        engine_name="own",
    )

    # WHEN the platform invokes the handler, and again as long as it raises
    raised = 0
    for invocation in range(1, INVOCATIONS + 1):
        intake = uploads.take(cos.parse(event))
        assert len(intake) == len(kinds)
        for taken, kind in zip(intake, kinds, strict=True):
            if kind in POISONED:
                # THEN what is poisoned is refused by its name every time
                assert taken.what == "refused"
                assert POISONED[kind] in taken.reason
            elif RETRIES.get(kind, 0) < invocation:
                assert taken.what in ("opened", "known")
        try:
            intake.raise_if_retry_helps()
            break
        except (DatabaseUnavailable, ZeroDivisionError):
            raised += 1

    # AND it raised only where a retry helped
    assert raised == max((RETRIES.get(kind, 0) for kind in kinds), default=0)

    # AND every good record has one task, is started once or left to the timer, and is done once
    assert sorted(task.key for task in tasks.newest(limit=1000)) == sorted(good)
    started = [key for key in good if kinds[number_of(key)] not in LEFT_TO_THE_TIMER]
    assert sorted(engine.started) == sorted(started)
    clock.sleep(START_GRACE)
    assert sorted(task.key for task in tasks.take_due(1000)) == sorted(good)
    assert tasks.take_due(1000) == []


@pytest.fixture(params=["sqlite", "postgres"])
def make(request, tmp_path):
    """Gives an empty database each time."""
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else tmp_path) as scratch:
        in_memory = f"sqlite:///{scratch}/filmstrip.db"
        database = open_database(
            request.getfixturevalue("postgres_url") if request.param == "postgres" else in_memory
        )
        database.migrate()

        def make() -> Database:
            with database.transaction() as session:
                for table in ("tasks", "media"):
                    session._connection.execute(f"delete from {table}")
            return database

        yield make


@pytest.mark.timeout(900)
def test_no_record_holds_up_another(make, request, share):
    quick_of = 20 if "postgres" in request.node.name else 1  # what fails is around the database, not in it

    @settings(
        max_examples=max(share(2000, 100) // quick_of, 5),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.sampled_from([*GOOD, *POISONED]), min_size=RECORDS, max_size=RECORDS))
    def each(kinds: list[str]) -> None:
        check(make(), kinds)

    with redirect_stdout(StringIO()):
        each()


def test_all_of_one_kind(make):
    for kind in (*GOOD, *POISONED):
        check(make(), [kind] * 3)
