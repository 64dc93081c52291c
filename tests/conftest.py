"""Shared by all tests: the share of big counts, real databases, frozen time, whole systems on one machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lib.db.postgres import PostgresDatabase
from lib.db.sqlite import SqliteDatabase
from lib.ports import Database
from tests import postgres

EVENTS = Path(__file__).parent / "events"
MEDIA = Path(__file__).parent / "media"


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
    """URL of a real PostgreSQL."""
    with postgres.running() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh, migrated database."""
    with postgres.fresh_database(postgres_server) as url:
        yield url


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
