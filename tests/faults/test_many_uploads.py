"""Many uploads at once, each told of three times, on a database with few connections: each is done once."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from lib.local.watcher import cos_event
from lib.sprites import Manifest
from lib.storage.folder import FolderStorage
from lib.system import SystemClock
from tests.conftest import open_database
from tests.faults import machines
from tests.faults.fleets import TIMER_SECONDS, Fleet, running
from tests.faults.receivers import receiving
from tests.postgres import MAX_CONNECTIONS
from tests.videos import make_barcoded

BUCKET = "media-1250000000"
PATIENCE = 900.0  # seconds, a guard
COPIES = 3
FREE = 12
"""Connections left for the fleet in the beginning: others use the database too."""


@pytest.fixture
def bucket(tmp_path):
    return FolderStorage(tmp_path / "bucket", BUCKET, base_url="", clock=SystemClock())


def store(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "bucket" / "videos"
    folder.mkdir(parents=True)
    for kind in range(4):
        make_barcoded(tmp_path / f"{kind}.mp4", seconds=1 + kind / 4, size=(64, 48), fps=8, gop=4)
    for number in range(count):
        (folder / f"{number}.mp4").write_bytes((tmp_path / f"{number % 4}.mp4").read_bytes())


def shuffled(bucket: FolderStorage, copies: int = COPIES) -> list[dict[str, object]]:
    """An event for each object, so many times, in any order."""
    events = [cos_event(BUCKET, "ap-guangzhou", [stored]) for stored in bucket.list("videos/")] * copies
    random.Random(7).shuffle(events)
    return events


def environment(tmp_path: Path, database_url: str, receiver: str, captures: int) -> dict[str, str]:
    definitions = tmp_path / "definitions.toml"
    definitions.write_text("[20]\nwidth = 32\nheight = 24\ninterval = 0.5\nrows = 2\ncolumns = 2\n")
    return {
        "STORAGE": "folder",
        "BUCKET": BUCKET,
        "BUCKET_DIR": str(tmp_path / "bucket"),
        "PUBLIC_BASE_URL": "https://cdn.example",
        "DATABASE_URL": database_url,
        "DEFINITIONS_FILE": str(definitions),
        "DEFINITIONS": "20",
        "CALLBACK_URL": receiver,
        "CALLBACK_ALLOW": "127.0.0.0/8",
        "CAPTURES_AT_ONCE": str(captures),
        "LEASE_SECONDS": "60",
    }


def rows(database_url: str, table: str) -> list[dict[str, object]]:
    with open_database(database_url).transaction() as session:
        found = session._connection.execute(f"select * from {table}")
        return [dict(row) for row in found.fetchall()]


def delivered(database_url: str) -> int:
    return sum(row["state"] == "delivered" for row in rows(database_url, "deliveries"))


def most_at_once(attempts: list[dict[str, object]]) -> int:
    """Of captures. A claim waits for the one before it, and for the end of whose place it takes."""
    steps = [(row["started_at"], 1) for row in attempts] + [(row["finished_at"], -1) for row in attempts]
    running = most = 0
    for _, step in sorted(steps):
        running += step
        most = max(most, running)
    return most


def run(fleet: Fleet, database_url: str, events, count: int, *, meanwhile=lambda done: None) -> float:
    """Seconds from the first event until the last one's callback. The timer ticks on the way."""
    began = time.monotonic()
    for event in events:
        fleet.invoke("on_upload", event)
    while (done := delivered(database_url)) < count:
        assert time.monotonic() - began < PATIENCE, f"{done} of {count} done; {fleet.problems[-3:]}"
        meanwhile(done)
        fleet.invoke("on_timer", {"Type": "Timer"})
        fleet.collect(TIMER_SECONDS)
    return time.monotonic() - began


def check(database_url, receiver, bucket, count, captures) -> None:
    tasks, events = rows(database_url, "tasks"), rows(database_url, "events")
    deliveries, attempts = rows(database_url, "deliveries"), rows(database_url, "attempts")
    keys = {f"videos/{number}.mp4" for number in range(count)}
    # one task, one event and one accepted callback for each upload
    assert Counter(str(task["key"]) for task in tasks) == Counter(keys)
    assert {(task["state"], task["outcome"]) for task in tasks} == {("finished", "complete")}
    assert Counter(event["task_id"] for event in events) == Counter(task["id"] for task in tasks)
    assert {row["state"] for row in deliveries} == {"delivered"}
    assert set(receiver.accepted) == {event["id"] for event in events}
    assert Counter(body["data"]["vodTaskId"] for body in receiver.accepted.values()) == Counter(
        task["id"] for task in tasks
    )
    # never more captures at once than allowed
    assert most_at_once([row for row in attempts if row["finished_at"] is not None]) <= captures
    # the pictures of each, whole, and nothing else
    published = {stored.key for stored in bucket.list("sprites/")}
    expected = set()
    for key in keys:
        folder = f"sprites/{key}/20/"
        manifest = Manifest.from_json(bucket.get(f"{folder}manifest.json").decode())
        stem = f"sprite_{bucket.head(key).etag[:12]}"
        assert manifest.source.key == key
        expected |= {folder + name for name in ("manifest.json", "thumbnails.vtt", f"{stem}.json")}
        expected |= {folder + sheet.name for sheet in manifest.sheets}
    assert published == expected


@pytest.mark.timeout(1200)
def test_many_uploads_in_a_minute_on_few_connections(postgres_url, tmp_path, bucket, share, capsys):
    # GIVEN more handlers at once than PostgreSQL has connections, and others who hold most of them at first
    count, captures = share(2000, 200), 16
    store(tmp_path, count)
    others = [psycopg.connect(postgres_url) for _ in range(MAX_CONNECTIONS - FREE)]

    def leave(done: int) -> None:
        while others and done > count // 4:
            others.pop().close()

    # WHEN every upload is told of three times
    with receiving() as receiver:
        settings = environment(tmp_path, postgres_url, receiver.url, captures)
        with running(settings, processes=4, threads=16) as fleet:
            seconds = run(fleet, postgres_url, shuffled(bucket), count, meanwhile=leave)
        leave(count)

    # THEN each is done once, and no upload was given up on the way: a capture that got no connection, the timer repeats
    assert [problem for problem in fleet.lost if problem.startswith("on_upload")] == []
    check(postgres_url, receiver, bucket, count, captures)
    with capsys.disabled():
        print(f"\n{count} uploads x {COPIES} on PostgreSQL: {seconds:.1f} s, {len(fleet.problems)} retries")


@pytest.mark.timeout(1200)
def test_many_uploads_on_one_machine(tmp_path, bucket, share, capsys):
    count, captures = share(2000, 100), 4
    store(tmp_path, count)
    database_url = f"sqlite:///{tmp_path / 'filmstrip.db'}"
    open_database(database_url).migrate()

    with receiving() as receiver:
        settings = environment(tmp_path, database_url, receiver.url, captures)
        with running(settings, processes=2, threads=3) as fleet:
            seconds = run(fleet, database_url, shuffled(bucket), count)

    assert fleet.problems == []
    check(database_url, receiver, bucket, count, captures)
    with capsys.disabled():
        print(f"\n{count} uploads x {COPIES} on SQLite: {seconds:.1f} s")


def test_one_event_three_times_in_two_processes_at_once(database_url, tmp_path, bucket, share):
    with receiving() as receiver:
        place = machines.Place(database_url, tmp_path / "bucket", receiver.url)
        rounds = share(100, 5)
        store(tmp_path, rounds)
        for number in range(rounds):
            key = f"videos/{number}.mp4"
            both = [machines.start(place, machines.Work(key, times=times)) for times in (2, 1)]
            for process in both:
                process.join()
            assert [process.exitcode for process in both] == [0, 0]

    tasks, events = rows(database_url, "tasks"), rows(database_url, "events")
    assert Counter(task["key"] for task in tasks) == Counter(
        f"videos/{number}.mp4" for number in range(rounds)
    )
    assert Counter(event["task_id"] for event in events) == Counter(task["id"] for task in tasks)
    assert set(receiver.sent.values()) == {1}
    assert {event["type"] for event in events} == {"CreateImageSpriteComplete"}
    manifests = [stored.key for stored in bucket.list("sprites/") if stored.key.endswith("/manifest.json")]
    assert len(manifests) == rounds
