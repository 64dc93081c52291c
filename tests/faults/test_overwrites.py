"""What players see while versions come, fail and go: pictures that the visible manifest names are always there."""

from __future__ import annotations

import os

import pytest

from lib.errors import AttemptSuperseded, Corrupt
from lib.sprites import Manifest
from lib.tasks import ATTEMPTS, Failure
from tests.faults.machines import LEASE, STALE, Machine, Place
from tests.videos import make_barcoded

KEY = "videos/a.mp4"
FOLDER = f"sprites/{KEY}/20/"
GONE, COMPLETE, TIMED_OUT = "gone", "complete", "timed_out"


@pytest.fixture
def place(database_url, tmp_path):
    return Place(database_url, tmp_path / "bucket")


@pytest.fixture
def machine(place):
    return Machine(place)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    return [
        make_barcoded(
            folder / f"{number}.mp4", seconds=2.0 + number, size=(64, 48), fps=10, gop=5
        ).read_bytes()
        for number in (0, 1)
    ]


def put(machine: Machine, data: bytes) -> str:
    machine.storage.put(KEY, data, content_type="video/mp4", cache_control="")
    return machine.storage.head(KEY).etag


def shown(machine: Machine) -> str | None:
    """The version that players see, of which everything must be there."""
    manifest = Manifest.from_json(machine.storage.get(f"{FOLDER}manifest.json").decode())
    index = machine.storage.get(f"{FOLDER}thumbnails.vtt").decode()
    for sheet in manifest.sheets:
        assert machine.storage.get(FOLDER + sheet.name)
        assert sheet.name in index
    return manifest.source.etag


def sheets_of(machine: Machine, etag: str) -> list[str]:
    return [stored.key for stored in machine.storage.list(FOLDER) if etag[:12] in stored.key]


def tick(machine: Machine, *, ahead: float) -> None:
    machine.clock.ahead = ahead
    machine.timer.tick()


def outcomes(machine: Machine) -> list[str | None]:
    return [task.outcome for task in machine.tasks.newest()][::-1]


def test_a_sweep_keeps_the_former_version_until_the_new_one_is_captured(machine, versions):
    first = put(machine, versions[0])
    machine.upload(KEY)
    second = put(machine, versions[1])

    tick(machine, ahead=STALE + 1)

    assert shown(machine) == first
    machine.run()
    assert shown(machine) == second


def test_an_attempt_that_finds_its_version_replaced_keeps_what_is_shown(machine, versions):
    first = put(machine, versions[0])
    machine.upload(KEY)
    [task] = machine.tasks.newest()
    put(machine, versions[1])
    machine.tasks.reopen(task.id)

    assert machine.attempts.run(task.id) == GONE

    assert shown(machine) == first


def test_a_repeated_event_does_not_shorten_the_grace_of_old_sheets_nor_forget_them(machine, versions):
    # GIVEN a version long shown, and the one that has just replaced it
    first = put(machine, versions[0])
    machine.upload(KEY)
    second = put(machine, versions[1])
    machine.upload(KEY)

    # WHEN its event comes again
    machine.upload(KEY)
    tick(machine, ahead=10)

    # THEN players that read the old index still get the old sheets, for as long as was said
    assert shown(machine) == second
    assert sheets_of(machine, first)
    tick(machine, ahead=STALE + 20)
    assert sheets_of(machine, first) == []
    assert shown(machine) == second


def test_an_old_version_uploaded_again_gives_the_newer_one_its_grace_too(place, machine, versions):
    put(machine, versions[0])
    machine.upload(KEY)
    old = place.folder / KEY
    os.link(old, f"{old}.kept")
    newer = put(machine, versions[1])
    machine.upload(KEY)
    os.replace(f"{old}.kept", old)  # the same ETag again

    machine.clock.ahead = STALE - 10
    machine.upload(KEY)
    tick(machine, ahead=STALE - 5)

    assert shown(machine) != newer
    assert sheets_of(machine, newer)
    tick(machine, ahead=3 * STALE)
    assert sheets_of(machine, newer) == []


def test_sheets_of_a_task_that_failed_are_removed(machine, versions):
    # GIVEN attempts that put sheets and die
    etag = put(machine, versions[0])
    machine.points.reach = die_after_a_sheet
    for number in range(ATTEMPTS):
        machine.clock.ahead = number * 2 * LEASE
        with pytest.raises(KeyboardInterrupt):
            machine.upload(KEY) if number == 0 else tick_and_run(machine)
    del machine.points.reach
    assert sheets_of(machine, etag)

    # WHEN the timer has ended the task, and its hour is over
    tick(machine, ahead=ATTEMPTS * 2 * LEASE)
    assert outcomes(machine) == [TIMED_OUT]
    tick(machine, ahead=STALE + 10 * LEASE)

    # THEN nothing is left, and nothing is tried again
    assert sheets_of(machine, etag) == []
    assert outcomes(machine) == [TIMED_OUT]


def die_after_a_sheet(point: str) -> None:
    if point == "put sheet":
        raise KeyboardInterrupt


def tick_and_run(machine: Machine) -> None:
    machine.timer.tick()
    machine.run()


def test_a_late_attempt_of_before_a_reopening_loses(machine, versions):
    put(machine, versions[0])
    task_id = opened(machine)
    late = machine.tasks.claim(task_id)
    machine.clock.ahead = LEASE + 1
    machine.tasks.fail(machine.tasks.claim(task_id), Failure.of(Corrupt(reason="broken")))

    machine.tasks.reopen(task_id)
    current = machine.tasks.claim(task_id)

    assert current.attempt == late.attempt
    for act in (machine.tasks.renew, lambda task: machine.tasks.release(task, "late")):
        with pytest.raises(AttemptSuperseded):
            act(late)
    with pytest.raises(AttemptSuperseded):
        machine.tasks.fail(late, Failure.of(Corrupt(reason="late")))
    machine.tasks.renew(current)


def opened(machine: Machine, number: int = 0) -> str:
    return machine.tasks.open_upload(
        bucket="b-1", key=f"videos/{number}.mp4", etag="e", size=1, definition=20, engine="own"
    ).task.id


def test_a_task_whose_attempts_all_died_ends_even_when_every_place_is_taken(machine):
    # GIVEN a task whose last attempt died, and captures in every place since
    dead = opened(machine)
    for number in range(ATTEMPTS):
        machine.clock.ahead = number * (LEASE + 1)
        machine.tasks.claim(dead)
    machine.clock.ahead = ATTEMPTS * (LEASE + 1)
    for number in range(1, 11):
        machine.tasks.claim(opened(machine, number))

    # WHEN attempts that end look for the next task, again and again
    for _ in range(3):
        assert machine.tasks.take_startable(1) == []

    # THEN the timer ends it all the same
    machine.timer.tick()
    assert machine.tasks.get(dead).outcome == TIMED_OUT


def test_a_version_captured_while_the_sweep_looked_is_not_captured_again(machine, versions):
    put(machine, versions[0])
    machine.upload(KEY)
    [task] = machine.tasks.newest()

    restored = machine.tasks.restore(
        bucket=task.bucket,
        key=KEY,
        etag=task.etag,
        size=1,
        definition=20,
        engine="own",
        looked_at=task.finished_at - 0.1,
    )

    assert restored is None
    assert machine.tasks.get(task.id).outcome == COMPLETE
