"""The composition root: settings -> App. The only module that names adapters; one App per warm instance."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import log, settings
from lib.definitions import BUILT_IN, Definitions
from lib.definitions import load as load_definitions
from lib.deliveries import Deliveries
from lib.engines.own import OwnEngine
from lib.errors import ConfigurationError, Invalid
from lib.netguard import Guard
from lib.ports import Database, Invoker, Storage
from lib.sender import HttpSender
from lib.settings import Settings
from lib.signing.webhooks import Keyring
from lib.system import SystemChance, SystemClock
from lib.tasks import Tasks
from lib.uploads import Rules

if TYPE_CHECKING:
    from lib.attempts import Attempts
    from lib.publication import Publication
    from lib.storage.http import HttpSource
    from lib.storage.readers import FileReader
    from lib.timer import Ticked, Timer
    from lib.uploads import Intake, Uploads
    from lib.validation.cos import CosRecord


@dataclass(frozen=True)
class App:
    settings: Settings
    database: Database
    storage: Callable[[], Storage]
    definitions: Definitions
    engine: OwnEngine
    tasks: Tasks
    deliveries: Deliveries
    rules: Rules
    deadline: float | None = None
    """End of this invocation on the clock of `time.monotonic`."""

    def upload(self, records: list[CosRecord | Invalid]) -> Intake:
        """Opens a task for every upload among the records."""
        return self._uploads().take(records)

    def attempt(self, task_id: str) -> str:
        """One attempt at a task by our own engine; gives its outcome. Raises TaskNotFound."""
        return self._attempts().run(task_id, deadline=self.deadline)

    def tick(self) -> Ticked:
        """One round of the timer."""
        return self._timer().tick(deadline=self.deadline)

    def _uploads(self) -> Uploads:
        from lib.uploads import Uploads

        return Uploads(
            self.tasks,
            self.storage,
            self.engine,
            rules=self.rules,
            definitions=self.settings.DEFINITIONS,
            engine_name=self.settings.ENGINE,
        )

    def _attempts(self) -> Attempts:
        from lib.attempts import Attempts

        return Attempts(
            self.tasks,
            self.deliveries,
            self.storage,
            self.engine,
            SystemClock(),
            definitions=self.definitions,
            publication=self.publication,
            lease=self.settings.LEASE_SECONDS,
            sweep_after=self.settings.STALE_SECONDS,
        )

    def publication(self, key: str, definition: int) -> Publication:
        """Where the sprite of a key is published. Raises Invalid for an unknown definition."""
        from lib.publication import Publication

        return Publication(
            self.storage(),
            output_prefix=self.settings.OUTPUT_PREFIX,
            public_base_url=self.settings.PUBLIC_BASE_URL or bucket_url(self.settings),
            key=key,
            definition=self.definitions.get(definition),
            documents=self.settings.DOCUMENTS,
        )

    def _timer(self) -> Timer:
        from lib.scans import Scans
        from lib.sweeps import Sweeps
        from lib.timer import Timer

        scans = Scans(
            self.database,
            self.storage,
            self._uploads(),
            SystemClock(),
            prefix=self.settings.WATCH_PREFIX,
            every=self.settings.SCAN_MINUTES * 60,
        )
        sweeps = Sweeps(
            self.database,
            self.tasks,
            self.engine,
            SystemClock(),
            publication=self.publication,
            wants=self.rules.wants,
            engine_name=self.settings.ENGINE,
            stale_after=self.settings.STALE_SECONDS,
        )
        return Timer(
            self.database,
            self.tasks,
            self.deliveries,
            sweeps,
            scans,
            self.engine,
            SystemClock(),
            sweep_after=self.settings.STALE_SECONDS,
            retention_days=self.settings.RETENTION_DAYS,
        )


def app(context: Mapping[str, Any] | None = None) -> App:
    """The App of this instance, for one invocation. `context` is SCF's: request_id, time_limit_in_ms.

    Raises ConfigurationError.
    """
    context = context or {}
    log.bind(str(context.get("request_id", "")))
    limit = context.get("time_limit_in_ms")
    return replace(_warm(), deadline=time.monotonic() + float(limit) / 1000 if limit else None)


@cache
def _warm() -> App:
    return build(load_settings())


def load_settings() -> Settings:
    """From the environment and `.env`; the environment wins. Raises ConfigurationError."""
    return settings.load({**settings.read_env_file(), **os.environ})


def build(settings: Settings) -> App:
    """Raises ConfigurationError."""
    database = open_database(settings)
    clock, chance = SystemClock(), SystemChance()
    deliveries = Deliveries(
        database,
        HttpSender(_of("CALLBACK_ALLOW", lambda: Guard(settings.CALLBACK_ALLOW))),
        clock,
        chance,
        callback_url=settings.CALLBACK_URL if settings.push else "",
        keys=_of("CALLBACK_KEYS", lambda: _keyring(settings)),
    )
    tasks = Tasks(
        database,
        deliveries,
        clock,
        chance,
        lease=settings.LEASE_SECONDS,
        captures_at_once=settings.CAPTURES_AT_ONCE,
    )
    definitions = open_definitions(settings)
    return App(
        settings,
        database,
        cache(lambda: open_storage(settings)),
        definitions,
        OwnEngine(_invoker(settings)),
        tasks,
        deliveries,
        Rules(settings.BUCKET, settings.WATCH_PREFIX, settings.OUTPUT_PREFIX, settings.VIDEO_SUFFIXES),
    )


def _of(variable: str, make: Callable[[], Any]) -> Any:
    """What a setting says, made; a setting that cannot be is named."""
    try:
        return make()
    except Invalid as error:
        raise ConfigurationError(variable=variable, problem=str(error)) from None


def open_definitions(settings: Settings) -> Definitions:
    """Raises ConfigurationError."""
    definitions: Definitions = _of(
        "DEFINITIONS_FILE", lambda: load_definitions(settings.DEFINITIONS_FILE or BUILT_IN)
    )
    _of("DEFINITIONS", lambda: [definitions.get(number) for number in settings.DEFINITIONS])
    return definitions


def open_database(settings: Settings) -> Database:
    """The database of DATABASE_URL; a file of SQLite is made and migrated on the spot."""
    url = settings.DATABASE_URL.get_secret_value()
    if url.startswith("sqlite:///"):
        from lib.db.sqlite import SqliteDatabase

        database = SqliteDatabase(Path(url.removeprefix("sqlite:///")))
        database.migrate()
        return database
    from lib.db.postgres import PostgresDatabase

    return PostgresDatabase(url)


def open_storage(settings: Settings) -> Storage:
    if settings.STORAGE == "folder":
        from lib.storage.folder import FolderStorage

        return FolderStorage(
            settings.BUCKET_DIR, settings.BUCKET, base_url=settings.PUBLIC_BASE_URL, clock=SystemClock()
        )
    from lib.storage.cos import CosStorage

    return CosStorage(
        settings.BUCKET,
        settings.REGION,
        _credentials,
        endpoint=settings.COS_ENDPOINT or None,
        clock=SystemClock(),
    )


def open_source(name: str) -> tuple[FileReader | HttpSource, str]:
    """A video outside the bucket, by path or http(s) address, and the name it goes by (without any secret).

    Raises StorageError.
    """
    if name.startswith(("http://", "https://")):
        from urllib.parse import unquote, urlsplit

        from lib.storage.http import HttpSource

        return HttpSource(name, clock=SystemClock()), unquote(urlsplit(name).path.rpartition("/")[2])
    from lib.storage.readers import FileReader

    return FileReader(name), Path(name).name


def _keyring(settings: Settings) -> Keyring | None:
    return (
        Keyring([key.get_secret_value() for key in settings.CALLBACK_KEYS])
        if settings.CALLBACK_KEYS
        else None
    )


def _credentials() -> Any:
    return settings.credentials({**settings.read_env_file(), **os.environ})


def _invoker(settings: Settings) -> Invoker:
    if settings.INVOKE_URL or settings.STORAGE == "folder":
        from lib.invokers.local import LocalInvoker

        return LocalInvoker(settings.INVOKE_URL)
    from lib.invokers.scf import ScfInvoker

    return ScfInvoker(
        _credentials,
        region=settings.REGION,
        namespace=os.environ.get("SCF_NAMESPACE", "default"),
        names={"on_task": settings.ON_TASK_FUNCTION},
        endpoint=settings.SCF_ENDPOINT,
    )


def bucket_url(settings: Settings) -> str:
    """The bucket's own domain."""
    return f"https://{settings.BUCKET}.cos.{settings.REGION}.myqcloud.com"
