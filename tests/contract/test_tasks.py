"""The life of a task, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json

import pytest

from lib.deliveries import Deliveries
from lib.errors import AttemptSuperseded, Corrupt, TaskNotFound
from lib.sweeps import Sweeps
from lib.tasks import ATTEMPTS, START_GRACE, Failure, NotClaimed, Tasks, exhausted
from tests.senders import RecordingSender

LEASE = 60.0
UPLOAD = {"bucket": "media-1250000000", "key": "videos/a.mp4", "etag": "e" * 32, "size": 1000}
RESULT = {"totalCount": 3, "imageSpriteUrl": ["https://cdn/s.jpg"], "webVttUrl": "https://cdn/t.vtt"}


@pytest.fixture
def make(database, clock, chance):
    def make(captures_at_once=100, callback_url=""):
        deliveries = Deliveries(
            database, RecordingSender(), clock, chance, callback_url=callback_url, keys=None
        )
        return Tasks(database, deliveries, clock, chance, lease=LEASE, captures_at_once=captures_at_once)

    return make


@pytest.fixture
def tasks(make):
    return make()


def opened(tasks, **changes):
    return tasks.open_upload(**{**UPLOAD, "definition": 10, "engine": "own", **changes})


def finish(tasks, task, clock, outcome="complete"):
    return tasks.finish(task, outcome=outcome, result=RESULT, bytes_read=5, sweep_at=clock.now() + 3600)


def bodies(database):
    with database.transaction() as session:
        return [json.loads(row["body"]) for row in session.all("events_newest", task_id="", limit=100)]


def test_an_upload_opens_one_task_and_a_repeat_changes_nothing(tasks):
    first = opened(tasks)
    again = opened(tasks)

    assert first.new
    assert first.start
    assert not again.new
    assert not again.start
    assert again.task == first.task
    assert [task.id for task in tasks.newest()] == [first.task.id]


def test_another_version_definition_or_key_is_another_task_of_the_same_or_another_media(tasks):
    first = opened(tasks).task
    version = opened(tasks, etag="f" * 32).task
    definition = opened(tasks, definition=20).task
    other = opened(tasks, key="videos/b.mp4").task

    assert len({first.id, version.id, definition.id, other.id}) == 4
    assert first.file_id == version.file_id == definition.file_id != other.file_id
    assert first.file_id.isdecimal()


def test_every_call_of_the_api_opens_its_own_task(tasks):
    upload = opened(tasks).task

    first = tasks.open_request(file_id=upload.file_id, definition=10, engine="own")
    second = tasks.open_request(file_id=upload.file_id, definition=10, engine="own")

    assert len({upload.id, first.task.id, second.task.id}) == 3
    assert first.task.key == upload.key
    assert tasks.open_request(file_id="1", definition=10, engine="own") is None


def test_the_public_id_is_as_tencents(tasks):
    assert opened(tasks).task.id.startswith("CreateImageSprite-")
    assert len(opened(tasks).task.id) == len("CreateImageSprite-") + 32


def test_a_claimed_task_is_leased_until_its_lease_runs_out(tasks, clock):
    task_id = opened(tasks).task.id
    held = tasks.claim(task_id)

    assert (held.state, held.attempt) == ("running", 1)
    assert tasks.claim(task_id) == NotClaimed("leased")

    clock.sleep(LEASE / 2)
    tasks.renew(held)
    clock.sleep(LEASE / 2 + 1)
    assert tasks.claim(task_id) == NotClaimed("leased")

    clock.sleep(LEASE)
    assert tasks.claim(task_id).attempt == 2


def test_a_late_attempt_loses_always(tasks, clock, database):
    # GIVEN an attempt that outlived its lease, and the next one that took over
    task_id = opened(tasks).task.id
    late = tasks.claim(task_id)
    clock.sleep(LEASE + 1)
    current = tasks.claim(task_id)

    # WHEN the late one renews, finishes, fails or releases
    for act in (
        lambda: tasks.renew(late),
        lambda: finish(tasks, late, clock),
        lambda: tasks.fail(late, Failure.of(Corrupt(reason="broken"))),
        lambda: tasks.release(late, "storage is down"),
    ):
        with pytest.raises(AttemptSuperseded):
            act()

    # THEN nothing was written, and the current one finishes, once
    assert bodies(database) == []
    finish(tasks, current, clock)
    assert tasks.get(task_id).outcome == "complete"
    assert len(bodies(database)) == 1
    with pytest.raises(AttemptSuperseded):
        finish(tasks, current, clock)
    assert tasks.claim(task_id) == NotClaimed("finished")


def test_success_has_the_event_of_the_v2_format(tasks, clock, database):
    task = tasks.claim(opened(tasks).task.id)
    finish(tasks, task, clock)

    assert bodies(database) == [
        {
            "version": "4.0",
            "eventType": "CreateImageSpriteComplete",
            "data": {
                "status": 0,
                "message": "",
                "vodTaskId": task.id,
                "fileId": task.file_id,
                "definition": 10,
                "totalCount": 3,
                "imageSpriteUrl": ["https://cdn/s.jpg"],
                "webVttUrl": "https://cdn/t.vtt",
            },
        }
    ]


def test_failure_has_four_fields_and_its_code(tasks, clock, database):
    task = tasks.claim(opened(tasks).task.id)
    tasks.fail(task, Failure.of(Corrupt(reason="the file is damaged")))

    assert [body["data"] for body in bodies(database)] == [
        {"status": -44001, "message": "the file is damaged", "vodTaskId": task.id, "fileId": task.file_id}
    ]
    assert (tasks.get(task.id).outcome, tasks.get(task.id).reason) == ("corrupt", "the file is damaged")


def test_a_released_task_waits_then_is_due_and_the_third_release_fails_it_by_name(tasks, clock, database):
    task_id = opened(tasks).task.id
    for attempt in (1, 2):
        event = tasks.release(tasks.claim(task_id), "the bucket did not answer")
        assert event is None
        assert tasks.take_due(10) == []
        clock.sleep(120 if attempt == 2 else 20)
        assert [due.id for due in tasks.take_due(10)] == [task_id]

    assert tasks.release(tasks.claim(task_id), "the bucket did not answer") is not None

    failed = tasks.get(task_id)
    assert (failed.state, failed.outcome, failed.attempt) == ("finished", "timed_out", ATTEMPTS)
    assert "the bucket did not answer" in failed.reason
    assert bodies(database)[0]["data"]["status"] == 30010
    assert [row["outcome"] for row in tasks.attempts(task_id)] == ["retry", "retry", "timed_out"]


def test_a_task_nobody_started_is_due_after_its_grace_and_taken_by_one_timer(tasks, clock):
    task_id = opened(tasks).task.id
    assert tasks.take_due(10) == []

    clock.sleep(START_GRACE)

    assert [task.id for task in tasks.take_due(10)] == [task_id]
    assert tasks.take_due(10) == []


def test_attempts_that_die_without_a_word_end_in_a_named_failure(tasks, clock):
    task_id = opened(tasks).task.id
    for _ in range(ATTEMPTS):
        assert tasks.claim(task_id).state == "running"
        clock.sleep(LEASE + 1)
    assert tasks.claim(task_id) == NotClaimed("exhausted")

    [due] = tasks.take_due(10)
    tasks.fail(due, exhausted(due))

    assert tasks.get(task_id).outcome == "timed_out"


def test_no_more_captures_run_at_once_than_allowed(make, clock):
    # GIVEN three tasks and two places
    tasks = make(captures_at_once=2)
    ids = [opened(tasks, key=f"videos/{number}.mp4").task.id for number in range(3)]
    first, second = tasks.claim(ids[0]), tasks.claim(ids[1])
    assert second.state == "running"

    # THEN the third is left waiting, is not started by the timer, and a new upload is not started either
    assert tasks.claim(ids[2]) == NotClaimed("no free place")
    assert tasks.take_due(10) == []
    assert not opened(tasks, key="videos/more.mp4").start

    # UNTIL a place is free
    finish(tasks, first, clock)
    assert [task.id for task in tasks.take_due(10)] == [ids[2]]


def test_a_lost_lease_frees_its_place(make, clock):
    tasks = make(captures_at_once=1)
    first, second = (opened(tasks, key=f"videos/{number}.mp4").task.id for number in range(2))
    tasks.claim(first)
    clock.sleep(LEASE + 1)

    assert tasks.claim(second).state == "running"


def test_reopening_gives_all_attempts_back(tasks, clock):
    task = tasks.claim(opened(tasks).task.id)
    tasks.fail(task, Failure.of(Corrupt(reason="broken")))

    again = tasks.reopen(task.id)

    assert (again.state, again.attempt, again.outcome) == ("waiting", 0, None)
    assert tasks.claim(task.id).attempt == 1
    assert tasks.reopen(task.id).state == "running"


def test_unknown_tasks_are_named(tasks):
    for act in (tasks.get, tasks.claim, tasks.reopen):
        with pytest.raises(TaskNotFound, match="CreateImageSprite-none"):
            act("CreateImageSprite-none")


def test_a_version_without_pictures_gets_its_task_back_but_a_failed_one_does_not(tasks, clock):
    restore = {**UPLOAD, "definition": 10, "engine": "own"}
    made = tasks.restore(**restore)
    assert made.state == "waiting"
    assert tasks.restore(**restore) is None

    finish(tasks, tasks.claim(made.id), clock)
    assert tasks.restore(**restore).id == made.id

    tasks.fail(tasks.claim(made.id), Failure.of(Corrupt(reason="broken")))
    assert tasks.restore(**restore) is None


def test_a_repeat_of_a_finished_upload_asks_for_a_look_at_its_folder(tasks, clock, database):
    sweeps = Sweeps(
        database, tasks, None, clock, publication=None, wants=None, engine_name="own", stale_after=0.0
    )
    task = tasks.claim(opened(tasks).task.id)
    tasks.fail(task, Failure.of(Corrupt(reason="broken")))
    assert sweeps.take(10) == []

    opened(tasks)

    [sweep] = sweeps.take(10)
    assert (sweep["key"], sweep["file_id"], sweep["definition"]) == (UPLOAD["key"], task.file_id, 10)
    assert sweeps.take(10) == []
    sweeps.end(sweep)
    clock.sleep(86400)
    assert sweeps.take(10) == []
