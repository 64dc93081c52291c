"""The outbox: events on their way to the user.

An event is written in the transaction that ends its task. Sending is an attempt of its own, leased and fenced like
a capture: nothing is sent twice by two dispatchers; a crash between sending and noting it sends once more, with the
same `webhook-id`, by which a receiver de-duplicates.

    due ──claim──▶ sending ──2xx──▶ delivered
     ▲               │  └──410, or the schedule is used up──▶ given_up
     └──anything else┘
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lib import log
from lib.errors import AddressRefused, SendFailed
from lib.ports import Answer, Chance, Clock, Database, Row, Sender, Session
from lib.signing import webhooks

SCHEDULE = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds before the second, third ... try: 3.2 days in all (Standard Webhooks, "Retry schedule")."""

LEASE = 60.0
EVENTS_KEPT = 4 * 86400.0
"""Seconds an event can be pulled (VOD keeps them 4 days)."""

MANY = 100


class Deliveries:
    def __init__(
        self,
        database: Database,
        sender: Sender,
        clock: Clock,
        chance: Chance,
        *,
        callback_url: str,
        keys: webhooks.Keyring | None,
    ) -> None:
        self._database = database
        self._sender = sender
        self._clock = clock
        self._chance = chance
        self._callback_url = callback_url
        self._keys = keys

    def record(self, session: Session, task_id: str, kind: str, data: Mapping[str, Any]) -> str:
        """Writes the event, and its delivery where there is somebody to call; gives the event's id.

        The body is the v2 format (VOD API 2.0, event notification).
        """
        event_id, now = f"msg_{self._chance.hex()}", self._clock.now()
        body = json.dumps({"version": "4.0", "eventType": kind, "data": data}, ensure_ascii=False)
        session.run("add_event", id=event_id, task_id=task_id, type=kind, body=body, now=now)
        if self._callback_url:
            session.run("add_delivery", event_id=event_id, now=now)
        return event_id

    def send(self, event_id: str) -> str:
        """One try, if it is due and nobody else has it; gives the state after it, or 'not due'."""
        now = self._clock.now()
        if not self._callback_url:
            return "not due"
        with self._database.transaction() as session:
            delivery = session.one("claim_delivery", event_id=event_id, now=now, until=now + LEASE)
            event = session.one("event", id=event_id)
        if delivery is None or event is None:
            return "not due"
        body = event["body"].encode()
        headers = self._headers(event_id, body, now)
        answer, reason = None, ""
        try:
            answer = self._sender.send(self._callback_url, body, headers)
        except (AddressRefused, SendFailed) as error:
            reason = str(error)
        state, due_at = self._next(delivery["attempt"], answer)
        if answer is not None and state != "delivered":
            reason = f"the receiver answered {answer.status}"
        with self._database.transaction() as session:
            noted = session.one(
                "end_delivery",
                event_id=event_id,
                attempt=delivery["attempt"],
                state=state,
                due_at=due_at,
                status=answer.status if answer else None,
                reason=reason,
                finished_at=None if state == "due" else self._clock.now(),
            )
        log.outcome(
            f"delivery.{state if noted else 'superseded'}",
            level="info" if state == "delivered" else "warning",
            event=event_id,
            task=event["task_id"],
            attempt=delivery["attempt"],
            status=answer.status if answer else None,
            reason=reason,
        )
        return state

    def _headers(self, event_id: str, body: bytes, now: float) -> dict[str, str]:
        if self._keys is None:
            return {webhooks.ID: event_id, webhooks.TIMESTAMP: str(int(now))}
        return webhooks.sign(self._keys, message_id=event_id, body=body, now=now)

    def _next(self, attempt: int, answer: Answer | None) -> tuple[str, float | None]:
        if answer is not None and 200 <= answer.status < 300:
            return "delivered", None
        if (answer is not None and answer.status == 410) or attempt > len(SCHEDULE):
            return "given_up", None
        delay = SCHEDULE[attempt - 1] * self._chance.jitter()
        if answer is not None and answer.retry_after is not None:
            delay = max(delay, answer.retry_after)
        return "due", self._clock.now() + delay

    def due(self, limit: int = MANY) -> list[str]:
        """Ids of events to send now, oldest first."""
        with self._database.transaction() as session:
            return [
                row["event_id"] for row in session.all("due_deliveries", now=self._clock.now(), limit=limit)
            ]

    def pull(self, *, limit: int = 16, visible_after: float = 30.0) -> list[Row]:
        """Events nobody confirmed yet, each with a `pull_handle`; hidden from other pulls for a while."""
        now = self._clock.now()
        with self._database.transaction() as session:
            rows = session.all(
                "pull_events",
                now=now,
                oldest=now - EVENTS_KEPT,
                until=now + visible_after,
                prefix=f"{self._chance.hex()[:8]}-",
                limit=limit,
            )
        return sorted(rows, key=lambda row: (row["created_at"], row["id"]))

    def confirm(self, handle: str) -> bool:
        """False where the handle is unknown or older than its time."""
        with self._database.transaction() as session:
            return session.one("confirm_event", handle=handle, now=self._clock.now()) is not None

    def newest(self, *, task_id: str = "", limit: int = 50) -> list[Row]:
        """Events with the state of their delivery, newest first."""
        with self._database.transaction() as session:
            return session.all("events_newest", task_id=task_id, limit=limit)

    def redeliver(self, task_id: str) -> int:
        """Deliveries given up are due again; gives how many."""
        with self._database.transaction() as session:
            return len(session.all("redeliver", task_id=task_id, now=self._clock.now()))
