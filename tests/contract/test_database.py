"""What both databases promise."""

from __future__ import annotations

import threading

import pytest

from lib.db.postgres import PostgresDatabase
from lib.db.queries import migrations, pyformat, queries
from lib.db.sqlite import SqliteDatabase
from lib.errors import ConfigurationError, DatabaseUnavailable
from tests.postgres import MAX_CONNECTIONS

MEDIA = {"bucket": "b-1", "key": "k", "now": 1.0}


def test_a_transaction_is_all_or_nothing(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        session.run("add_media", file_id="1", **MEDIA)
        raise ZeroDivisionError
    with database.transaction() as session:
        assert session.one("media_by_id", file_id="1") is None
        assert session.run("add_media", file_id="1", **MEDIA) == 1
    with database.transaction() as session:
        assert session.one("media_by_id", file_id="1")["key"] == "k"


def test_migrating_again_changes_nothing(database):
    assert database.migrate() == []


def test_migrations_started_at_once_run_once(tmp_path, postgres_server):
    import psycopg

    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("create database migrated_at_once")
    url = psycopg.conninfo.make_conninfo(postgres_server, dbname="migrated_at_once")
    for open_one in (lambda: SqliteDatabase(tmp_path / "f.db"), lambda: PostgresDatabase(url)):
        applied, threads = [], []
        for _ in range(6):
            threads.append(
                threading.Thread(target=lambda make=open_one, to=applied: to.extend(make().migrate()))
            )
            threads[-1].start()
        for thread in threads:
            thread.join()
        assert applied == [name for name, _ in migrations()]


def test_every_statement_runs_on_both(database):
    """A statement with a mistake in it fails here, by name, on the database that refuses it."""
    import re

    numbers = {
        "limit",
        "size",
        "definition",
        "attempt",
        "attempts",
        "status",
        "bytes_read",
        "captures",
        "reopened",
    }
    for name, sql in queries().items():
        parameters = dict.fromkeys(re.findall(r"(?<!:):([a-z_]+)", sql), 1)
        for found in parameters:
            if found in numbers:
                parameters[found] = 1
            elif found in (
                "now",
                "later",
                "until",
                "before",
                "due_at",
                "oldest",
                "finished_at",
                "since",
                "started_at",
            ):
                parameters[found] = 1.0
            else:
                parameters[found] = "api" if found == "origin" else f"text of {name}"
        with pytest.raises(_Undo), database.transaction() as session:
            if "file_id" in parameters and name != "add_media":
                session.run("add_media", file_id=parameters["file_id"], **MEDIA)
            if name in ("add_attempt", "add_event"):
                parameters["task_id"] = _task(session)
            try:
                session.all(name, **parameters) if re.search("returning|^select", sql) else session.run(
                    name, **parameters
                )
            except Exception as error:
                raise AssertionError(f"{name}: {error}") from error
            raise _Undo


class _Undo(Exception):
    pass


def _task(session):
    session.run("add_media", file_id="1", **MEDIA)
    row = session.one(
        "add_task", id="t", origin="api", file_id="1", bucket="b-1", key="k", etag="", size=0, definition=10,
        engine="own", due_at=1.0, now=1.0,
    )  # fmt: skip
    return row["id"]


def test_a_database_that_is_not_there_is_a_reason_to_try_again(tmp_path):
    (tmp_path / "file").write_text("")
    for database in (
        SqliteDatabase(tmp_path / "file" / "f.db"),
        PostgresDatabase("postgresql://nobody:canary-password@127.0.0.1:1/none?connect_timeout=1"),
    ):
        if isinstance(database, PostgresDatabase):
            database.patience = 0.2
        with pytest.raises(DatabaseUnavailable) as caught, database.transaction():
            pass
        assert caught.value.retry_helps
        assert "canary-password" not in str(caught.value)


def test_when_all_connections_are_taken_it_waits_for_one(postgres_url):
    import psycopg

    # GIVEN a server without a free connection
    taken = []
    while len(taken) < MAX_CONNECTIONS:
        try:
            taken.append(psycopg.connect(postgres_url))
        except psycopg.OperationalError:
            break

    # WHEN one is given back a little later
    giving_back = threading.Timer(0.5, lambda: [connection.close() for connection in taken])
    giving_back.start()

    # THEN the transaction goes through
    with PostgresDatabase(postgres_url).transaction() as session:
        assert session.all("tasks_newest", state="", limit=1) == []
    giving_back.join()


def test_a_wrong_address_is_refused_without_its_password():
    with pytest.raises(ConfigurationError) as caught:
        PostgresDatabase("postgresql://user:canary password@host:port:1/x")
    assert "canary" not in str(caught.value)


def test_psycopg_gets_its_own_placeholders():
    assert pyformat("select :a::text || '%' where b = :b_c") == "select %(a)s::text || '%%' where b = %(b_c)s"
