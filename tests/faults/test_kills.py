"""A process may die, or sleep past its lease, at any point of its work: the task is done once all the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count as count_from
from itertools import cycle, islice
from pathlib import Path

import pytest

from lib.storage.folder import FolderStorage
from lib.system import SystemClock
from tests.conftest import open_database
from tests.faults import machines
from tests.faults.machines import BUCKET, LATER, LEASE, STALE, Machine, Place, Points, Work
from tests.faults.receivers import receiving
from tests.videos import make_barcoded

KEY = "videos/a.mp4"
STEPS = {
    "event received": "received",
    "row inserted": "committed add_task",
    "claimed": "committed claim_task",
    "source read": "read",
    "decoded": "before sheet",
    "a sheet put": "put sheet",
    "manifest of the version put": "put manifest of the version",
    "index put": "put index",
    "manifest put": "put manifest",
    "finished, event written": "committed finish_task",
    "callback sent": "sent",
    "callback acknowledged": "committed end_delivery",
}
WAYS = ("redelivery", "timer")
REPEATS = 20
UNTIL_STOPPED = 60.0  # seconds, a guard


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Two versions of the video, as files to link to: a link has the same ETag in every bucket."""
    folder = tmp_path_factory.mktemp("versions")
    return [
        make_barcoded(folder / f"{number}.mp4", seconds=2.0 + number, size=(64, 48), fps=10, gop=5)
        for number in (0, 1)
    ]


@pytest.fixture(scope="module")
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def place(database_url, tmp_path, receiver):
    return Place(database_url, tmp_path / "bucket", receiver.url)


def with_bucket(place: Place, number: int) -> Place:
    """The same place with an empty bucket: pictures of a case before would be used again."""
    return replace(place, folder=place.folder.with_name(f"bucket-{number}"))


def put(place: Place, version: Path) -> None:
    """The version is in the bucket, whatever was there before."""
    path = place.folder / KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.hardlink_to(version)


def published(place: Place) -> dict[str, bytes]:
    storage = FolderStorage(place.folder, BUCKET, base_url="", clock=SystemClock())
    return {stored.key: storage.get(stored.key) for stored in storage.list("sprites/")}


@pytest.fixture(scope="module")
def undisturbed(versions, tmp_path_factory):
    """What each version publishes, and the points on the way, when nothing goes wrong."""
    found = []
    with receiving() as receiver:
        for version in versions:
            folder = tmp_path_factory.mktemp("undisturbed")
            place = Place(f"sqlite:///{folder / 'filmstrip.db'}", folder / "bucket", receiver.url)
            open_database(place.database_url).migrate()
            put(place, version)
            machine = Machine(place, Points())
            machine.work(Work(KEY))
            found.append((published(place), [*machine.points.passed]))
            machine.work(Work(ticks=[STALE + LEASE]))
            assert published(place) == found[-1][0]
    return found


def rows(place: Place, table: str) -> list[dict[str, object]]:
    names = {"tasks": "tasks_newest", "events": "events_newest"}
    with open_database(place.database_url).transaction() as session:
        unfiltered = {"tasks": {"state": ""}, "events": {"task_id": ""}}[table]
        return [dict(row) for row in session.all(names[table], limit=100, **unfiltered)]


def forget(place: Place) -> None:
    """An empty record, for the next case on the same database."""
    with open_database(place.database_url).transaction() as session:
        connection = session._connection
        for table in ("deliveries", "events", "attempts", "sweeps", "tasks", "media"):
            connection.execute(f"delete from {table}")


def check_one(place, receiver, expected):
    """One task, one event, one accepted callback, one set of pictures, and nothing else."""
    [task] = rows(place, "tasks")
    [event] = rows(place, "events")
    assert (task["state"], task["outcome"]) == ("finished", "complete")
    assert (event["task_id"], event["state"]) == (task["id"], "delivered")
    assert receiver.of(task["id"]) == [event["id"]]
    assert receiver.sent[event["id"]] <= 2
    assert published(place) == expected


def cases(points: list[str], count: int) -> Iterator[tuple[str, int, str]]:
    """(point, which time, way): the named steps, in one way and then the other; --full adds every other point."""
    rounds = (
        (step, 1, WAYS[(turn + number) % 2])
        for turn in count_from(0)
        for number, step in enumerate(STEPS.values())
    )
    yield from islice(rounds, count)
    if count > len(STEPS):
        for number, point in enumerate(points):
            yield from ((point, points[: number + 1].count(point), way) for way in WAYS)


def test_killed_at_any_step_the_job_is_done_once(place, versions, undisturbed, receiver, share):
    expected, points = undisturbed[0]
    assert set(STEPS.values()) <= set(points)
    for number, (point, nth, way) in enumerate(
        cases(points, share(len(STEPS) * REPEATS * len(WAYS), len(STEPS)))
    ):
        # GIVEN a machine that is killed at this point
        here = with_bucket(place, number)
        put(here, versions[0])
        work = Work(KEY, until=point, nth=nth)
        assert machines.run(here, work) == -signal.SIGKILL, point

        # WHEN the same event comes again after a while, which is enough to get the pictures made,
        # or only the timer goes on
        if way == "redelivery":
            assert machines.run(here, machines.again(work)) == 0
            assert [task["state"] for task in rows(here, "tasks")] == ["finished"]
        elif not rows(here, "tasks"):
            assert machines.run(here, Work(KEY)) == 0  # only the event knew of it
        assert machines.run(here, LATER) == 0

        # THEN everything is there, once
        check_one(here, receiver, expected)
        forget(here)


def stopped(process) -> bool:
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:
        return False


def wait_until_stopped(process) -> None:
    give_up = time.monotonic() + UNTIL_STOPPED
    while not stopped(process):
        assert process.is_alive()
        assert time.monotonic() < give_up
        time.sleep(0.005)


def zombie(place: Place, point: str, *, fenced: bool = True) -> int:
    """A machine that sleeps at a point of its work, and wakes up when others have done it; its exit code."""
    process = machines.start(place, Work(KEY, until=point, signal=signal.SIGSTOP, fenced=fenced))
    try:
        wait_until_stopped(process)
        assert machines.run(place, LATER) == 0
        os.kill(process.pid, signal.SIGCONT)
        process.join(UNTIL_STOPPED)
        return int(process.exitcode)
    finally:
        process.kill()
        process.join()


ASLEEP = (
    "put sheet",
    "put manifest",
    "sent",
    "committed claim_task",
    "read",
    "put manifest of the version",
    "before index",
    "put index",
    "before manifest",
)


def test_nothing_of_an_attempt_that_outlived_its_lease_shows(place, versions, undisturbed, receiver, share):
    for number, point in enumerate(islice(cycle(ASLEEP), share(len(ASLEEP) * REPEATS, 3))):
        here = with_bucket(place, number)
        put(here, versions[0])
        assert zombie(here, point) == 0
        check_one(here, receiver, undisturbed[0][0])
        forget(here)


def test_without_the_fence_it_would_show(place, versions, undisturbed, receiver):
    """The test above can fail: a finish that does not ask for the attempt makes a second event."""
    put(place, versions[0])
    assert zombie(place, "put manifest", fenced=False) == 0

    [task] = rows(place, "tasks")
    assert len(rows(place, "events")) == 2
    assert len(receiver.of(task["id"])) == 2


def test_an_attempt_that_slept_while_its_video_was_replaced_leaves_no_trace(
    place, versions, undisturbed, receiver, share
):
    for number, point in enumerate(islice(cycle(ASLEEP), share(len(ASLEEP) * REPEATS, 3))):
        here = with_bucket(place, number)
        put(here, versions[0])
        process = machines.start(here, Work(KEY, until=point, signal=signal.SIGSTOP))
        wait_until_stopped(process)
        put(here, versions[1])
        assert machines.run(here, Work(KEY)) == 0
        assert machines.run(here, LATER) == 0
        os.kill(process.pid, signal.SIGCONT)
        process.join(UNTIL_STOPPED)

        shown = published(here)
        new = undisturbed[1][0]
        assert {key: shown.get(key) for key in new} == new
        assert machines.run(here, Work(ticks=[2 * STALE])) == 0
        assert published(here) == new
        assert sorted(str(task["outcome"]) for task in rows(here, "tasks")) in (
            ["complete", "gone"],
            ["complete", "complete"],
        )
        assert len(rows(here, "events")) == 2
        forget(here)


def test_a_process_asleep_in_a_transaction_does_not_hold_up_the_others(
    postgres_url, tmp_path, versions, receiver, undisturbed
):
    """PostgreSQL ends its transaction, and with it the locks it holds."""
    place = Place(postgres_url, tmp_path / "bucket", receiver.url)
    for number, point in enumerate(("sql claim_task", "sql finish_task")):
        here = with_bucket(place, number)
        put(here, versions[0])
        assert zombie(here, point) == 1  # its connection is gone
        check_one(here, receiver, undisturbed[0][0])
        forget(here)
