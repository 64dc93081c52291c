"""Several dispatchers at once send each event once."""

from __future__ import annotations

import os
import sys

import pytest

from tests.conftest import open_database
from tests.faults.machines import PROCESSES, Machine, Place
from tests.faults.receivers import receiving

DISPATCHERS = 8
PATIENCE = 280.0  # seconds, a guard


def dispatch(place: Place) -> None:
    """A dispatcher's life: rounds of the timer until nothing is due."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - its log is nobody's
    machine = Machine(place)
    while machine.deliveries.due():
        machine.timer.tick()


@pytest.mark.timeout(600)
def test_each_event_is_sent_once(database_url, tmp_path, share):
    # GIVEN many events of one task, all due
    with receiving() as receiver:
        place = Place(database_url, tmp_path / "bucket", receiver.url)
        machine = Machine(place)
        upload = {"bucket": "b-1", "key": "k", "etag": "e", "size": 1, "definition": 20, "engine": "own"}
        task = machine.tasks.open_upload(**upload).task
        with open_database(database_url).transaction() as session:
            session.run("postpone_task", id=task.id, due_at=2e10)  # this is about events only
            made = {
                machine.deliveries.record(
                    session, task.id, "CreateImageSpriteComplete", {"vodTaskId": task.id}
                )
                for _ in range(share(5000, 300))
            }

        # WHEN all dispatchers go at them at once
        processes = [PROCESSES.Process(target=dispatch, args=(place,)) for _ in range(DISPATCHERS)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(PATIENCE)

        # THEN each was sent once, and is known as delivered at its first try
        assert [process.exitcode for process in processes] == [0] * DISPATCHERS
        assert set(receiver.sent) == made
        assert set(receiver.sent.values()) == {1}
        with open_database(database_url).transaction() as session:
            rows = [session.one("delivery", event_id=event) for event in made]
        assert {(row["state"], row["attempt"]) for row in rows} == {("delivered", 1)}
