"""A whole Filmstrip in one process: real adapters, real HTTP; invocations wait in a list until a test runs them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from lib import settings
from lib.app import App, build
from lib.engines.own import OwnEngine
from lib.local.receiver import Received, Receiver
from lib.local.watcher import cos_event
from lib.ports import StoredObject, Task
from lib.signing.webhooks import Keyring
from lib.sprites import Manifest
from lib.storage.folder import FolderStorage
from lib.system import SystemClock
from lib.validation import cos
from tests.cos_server import CosServer

SECRET = "whsec_" + "Q" * 32
BUCKET = "media-1250000000"


class WaitingInvocations:
    """An invoker whose invocations a test runs when it likes, as often as it likes."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, dict[str, Any]]] = []
        self.fails: list[Exception] = []

    def invoke(self, function: str, payload: Mapping[str, Any]) -> None:
        if self.fails:
            raise self.fails.pop(0)
        self.waiting.append((function, dict(payload)))


class System:
    """Context manager. `bucket` is "folder" or "cos"."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        monkeypatch: pytest.MonkeyPatch,
        *,
        bucket: str = "folder",
        **changes: str,
    ) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._monkeypatch = monkeypatch
        self.receiver = Receiver(Keyring([SECRET]))
        self.cos = CosServer(BUCKET) if bucket == "cos" else None
        self.environment = {
            "DATABASE_URL": database_url,
            "BUCKET": BUCKET,
            "PUBLIC_BASE_URL": "https://cdn.example/media",
            "CALLBACK_URL": self.receiver.url,
            "CALLBACK_KEYS": SECRET,
            "CALLBACK_ALLOW": self.receiver.address,
            "STALE_SECONDS": "0",
        }
        if self.cos is None:
            self.environment |= {"STORAGE": "folder", "BUCKET_DIR": str(folder / "bucket")}
        else:
            self.environment |= {"STORAGE": "cos", "COS_ENDPOINT": self.cos.endpoint}
        self.environment |= changes

    def __enter__(self) -> System:
        self._stack.enter_context(self.receiver)
        if self.cos is not None:
            self._stack.enter_context(self.cos)
            self._monkeypatch.setenv("TENCENTCLOUD_SECRETID", self.cos.credentials.secret_id)
            self._monkeypatch.setenv("TENCENTCLOUD_SECRETKEY", self.cos.credentials.secret_key)
            self._monkeypatch.setenv("TENCENTCLOUD_SESSIONTOKEN", self.cos.credentials.token)
        self.invocations = WaitingInvocations()
        built = build(settings.load(self.environment))
        self.app: App = replace(built, engine=OwnEngine(self.invocations))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # the bucket, seen from outside

    def store(self, key: str, data: bytes) -> StoredObject:
        """Puts an object as a user does, without our client."""
        if self.cos is not None:
            self.cos.store(key, data)
        else:
            self._user().put(key, data, content_type="video/mp4", cache_control="")
        return self.app.storage().head(key)

    def age(self, key: str, seconds: float) -> None:
        """Makes an object as old as that."""
        if self.cos is not None:
            stored = self.cos.objects[key]
            self.cos.objects[key] = replace(stored, modified=stored.modified - seconds)
        else:
            path = self._folder / "bucket" / key
            os.utime(path, (path.stat().st_mtime - seconds,) * 2)

    def delete(self, key: str) -> None:
        if self.cos is not None:
            del self.cos.objects[key]
        else:
            self._user().delete(key)

    def _user(self) -> FolderStorage:
        return FolderStorage(self._folder / "bucket", BUCKET, base_url="", clock=SystemClock())

    def published(self) -> dict[str, bytes]:
        """Every object under the output prefix."""
        storage = self.app.storage()
        return {stored.key: storage.get(stored.key) for stored in storage.list("sprites/")}

    def manifest(self, key: str, definition: int = 10) -> Manifest:
        return Manifest.from_json(self.published()[f"sprites/{key}/{definition}/manifest.json"].decode())

    # what happens

    def fire(self, *objects: StoredObject) -> list[dict[str, str]]:
        """COS tells on_upload of objects."""
        intake = self.app.upload(cos.parse(cos_event(BUCKET, "ap-guangzhou", objects)))
        intake.raise_if_retry_helps()
        return intake.summary()

    def upload(self, key: str, data: bytes) -> StoredObject:
        stored = self.store(key, data)
        self.fire(stored)
        return stored

    def run(self) -> list[str]:
        """Runs the invocations that wait, and those they start; gives the outcomes."""
        outcomes = []
        while self.invocations.waiting:
            _, payload = self.invocations.waiting.pop(0)
            outcomes.append(self.app.attempt(payload["task"]))
        return outcomes

    def tasks(self) -> list[Task]:
        """Oldest first."""
        return self.app.tasks.newest()[::-1]

    def received(self) -> list[Received]:
        """The events that came, each webhook-id once, in order."""
        events = []
        while not self.receiver.events.empty():
            events.append(self.receiver.events.get())
        return events

    def recorded(self) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) for row in self.app.deliveries.newest()][::-1]
