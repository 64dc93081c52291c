"""Events on their way to the user, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json

import pytest

from lib.deliveries import EVENTS_KEPT, LEASE, SCHEDULE, Deliveries
from lib.errors import AddressRefused, SendFailed
from lib.ports import Answer
from lib.signing import webhooks
from lib.tasks import Tasks
from tests.senders import RecordingSender

KEYS = webhooks.Keyring(["whsec_" + "A" * 32, "whsec_" + "B" * 32])
URL = "https://user.example/events"


@pytest.fixture
def make(database, clock, chance):
    def make(*answers, callback_url=URL, keys=KEYS):
        sender = RecordingSender(*answers)
        return Deliveries(database, sender, clock, chance, callback_url=callback_url, keys=keys), sender

    return make


@pytest.fixture
def task_id(database, clock, chance, make):
    tasks = Tasks(database, make()[0], clock, chance, lease=60.0, captures_at_once=10)
    upload = {"bucket": "b-1", "key": "k", "etag": "e", "size": 1, "definition": 10, "engine": "own"}
    return tasks.open_upload(**upload).task.id


def record(deliveries, database, task_id, **data):
    with database.transaction() as session:
        return deliveries.record(session, task_id, "CreateImageSpriteComplete", {"status": 0, **data})


def state(deliveries):
    row = deliveries.newest()[0]
    return row["state"], row["attempt"], row["due_at"]


def test_an_event_is_sent_once_signed_by_every_key(make, database, task_id, clock):
    deliveries, sender = make()
    event_id = record(deliveries, database, task_id, fileId="1")

    assert deliveries.send(event_id) == "delivered"
    assert deliveries.send(event_id) == "not due"

    [(url, body, headers)] = sender.sent
    assert url == URL
    assert json.loads(body)["data"] == {"status": 0, "fileId": "1"}
    for key in ("A", "B"):
        ring = webhooks.Keyring(["whsec_" + key * 32])
        assert webhooks.verify(headers, body, ring, now=clock.now()) == event_id


def test_without_keys_there_is_an_id_and_no_signature(make, database, task_id):
    deliveries, sender = make(keys=None)
    event_id = record(deliveries, database, task_id)
    deliveries.send(event_id)

    assert set(sender.sent[0][2]) == {webhooks.ID, webhooks.TIMESTAMP}
    assert sender.sent[0][2][webhooks.ID] == event_id


def test_what_is_rolled_back_was_never_an_event(make, database, task_id):
    deliveries, _ = make()
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        deliveries.record(session, task_id, "CreateImageSpriteComplete", {})
        raise ZeroDivisionError

    assert deliveries.newest() == []
    assert deliveries.due() == []


@pytest.mark.parametrize(
    ("answer", "after", "wait"),
    [
        (Answer(200, None), "delivered", None),
        (Answer(204, None), "delivered", None),
        (Answer(301, None), "due", SCHEDULE[0]),
        (Answer(400, None), "due", SCHEDULE[0]),
        (Answer(401, None), "due", SCHEDULE[0]),
        (Answer(410, None), "given_up", None),
        (Answer(429, 90.0), "due", 90.0),
        (Answer(503, 1.0), "due", SCHEDULE[0]),
        (Answer(500, None), "due", SCHEDULE[0]),
        (SendFailed(reason="connection reset"), "due", SCHEDULE[0]),
        (AddressRefused(host="user.example", reason="10.0.0.1 is private"), "due", SCHEDULE[0]),
    ],
)
def test_each_answer_has_its_next_state(make, database, task_id, clock, answer, after, wait):
    deliveries, _ = make(answer)
    event_id = record(deliveries, database, task_id)

    assert deliveries.send(event_id) == after

    assert state(deliveries) == (after, 1, None if wait is None else clock.now() + wait)


def test_the_schedule_spans_three_days_and_then_gives_up(make, database, task_id, clock):
    deliveries, sender = make(*[Answer(500, None)] * 50)
    event_id = record(deliveries, database, task_id)
    began, times = clock.now(), []
    while (after := deliveries.send(event_id)) == "due":
        times.append(clock.now())
        clock.sleep(state(deliveries)[2] - clock.now())
        assert deliveries.due() == [event_id]

    assert after == "given_up"
    assert len(sender.sent) == len(SCHEDULE) + 1
    assert clock.now() - began == sum(SCHEDULE) > 3 * 86400
    assert times == sorted(times)
    assert {headers[webhooks.ID] for _, _, headers in sender.sent} == {event_id}
    clock.sleep(10 * 86400)
    assert deliveries.due() == []

    assert deliveries.redeliver(task_id) == 1
    assert deliveries.due() == [event_id]


def test_a_crash_between_sending_and_noting_sends_once_more_with_the_same_id(make, database, task_id, clock):
    # GIVEN a sender that dies right after the receiver got the event
    deliveries, sender = make(KeyboardInterrupt())
    event_id = record(deliveries, database, task_id)
    with pytest.raises(KeyboardInterrupt):
        deliveries.send(event_id)
    assert deliveries.due() == []
    assert deliveries.send(event_id) == "not due"

    # WHEN its lease has run out
    clock.sleep(LEASE + 1)
    assert deliveries.due() == [event_id]
    assert deliveries.send(event_id) == "delivered"

    # THEN the receiver can tell that both are one
    assert [headers[webhooks.ID] for _, _, headers in sender.sent] == [event_id, event_id]


def test_a_late_sender_does_not_overwrite_the_next_one(make, database, task_id, clock):
    deliveries, sender = make()
    event_id = record(deliveries, database, task_id)

    class Slow(RecordingSender):
        def send(self, url, body, headers):
            clock.sleep(LEASE + 1)
            assert deliveries.send(event_id) == "delivered"
            return Answer(500, None)

    late, _ = make()
    late._sender = Slow()
    late.send(event_id)

    assert state(deliveries)[:2] == ("delivered", 2)
    assert len(sender.sent) == 1


def test_without_a_callback_url_the_event_is_recorded_and_can_be_pulled(make, database, task_id):
    deliveries, sender = make(callback_url="")
    event_id = record(deliveries, database, task_id, fileId="7")
    assert deliveries.send(event_id) == "not due"
    assert sender.sent == []
    assert deliveries.due() == []

    [pulled] = deliveries.pull()

    assert pulled["id"] == event_id
    assert json.loads(pulled["body"])["data"]["fileId"] == "7"


def test_a_pulled_event_is_hidden_until_its_time_and_gone_when_confirmed(make, database, task_id, clock):
    deliveries, _ = make(callback_url="")
    ids = []
    for number in range(20):
        ids.append(record(deliveries, database, task_id, number=number))
        clock.sleep(1)

    first = deliveries.pull()
    rest = deliveries.pull()
    assert [row["id"] for row in first] == ids[:16]
    assert [row["id"] for row in rest] == ids[16:]
    assert deliveries.pull() == []

    # confirmed in time: gone; too late: back
    assert all(deliveries.confirm(row["pull_handle"]) for row in first)
    assert not deliveries.confirm(first[0]["pull_handle"])
    clock.sleep(31)
    assert not deliveries.confirm(rest[0]["pull_handle"])
    assert [row["id"] for row in deliveries.pull()] == ids[16:]
    clock.sleep(EVENTS_KEPT)
    assert deliveries.pull() == []


def test_events_are_purged_by_age_but_never_before_they_are_sent(make, database, task_id, clock):
    deliveries, _ = make(*[Answer(500, None)] * 50)
    waiting = record(deliveries, database, task_id)
    deliveries.send(waiting)
    pulled, _ = make(callback_url="")
    record(pulled, database, task_id)
    clock.sleep(EVENTS_KEPT + 1)

    with database.transaction() as session:
        assert session.run("purge_events", before=clock.now() - EVENTS_KEPT) == 1
    assert [row["id"] for row in deliveries.newest()] == [waiting]
