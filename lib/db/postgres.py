"""PostgreSQL, for a fleet of functions: one short-lived connection per transaction, none held in between."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from lib.db.queries import migrations, pyformat, queries
from lib.errors import ConfigurationError, DatabaseUnavailable
from lib.ports import Row

_PASSES = re.compile(
    "too many|connection slots|starting up|shutting down|recovery|refused|timeout|timed out|reset|closed|No such file",
    re.IGNORECASE,
)
"""What may be over in a second; a wrong password or name is not."""

_MIGRATION_LOCK = 0x66696C6D  # "film": one migration at a time, whoever starts it


class PostgresSession:
    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    def all(self, query: str, **parameters: Any) -> list[Row]:
        return [*self._execute(query, parameters).fetchall()]

    def one(self, query: str, **parameters: Any) -> Row | None:
        rows = self.all(query, **parameters)
        return rows[0] if rows else None

    def run(self, query: str, **parameters: Any) -> int:
        return self._execute(query, parameters).rowcount

    def _execute(self, query: str, parameters: dict[str, Any]) -> psycopg.Cursor[dict[str, Any]]:
        return self._connection.execute(pyformat(queries()[query]).encode(), parameters)


class PostgresDatabase:
    patience = 20.0
    """Seconds to knock again when all connections are taken: functions burst, PostgreSQL does not."""
    stuck = 10.0
    """Seconds a transaction may wait for its next statement: a frozen instance would keep its locks for ever."""

    def __init__(self, url: str) -> None:
        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # The driver's own message repeats the URL, and with it the password.
            raise ConfigurationError(
                variable="DATABASE_URL",
                problem="this is not a PostgreSQL address; write postgresql://user:password@host:5432/name.",
            ) from None
        self._url = url

    @contextmanager
    def transaction(self) -> Iterator[PostgresSession]:
        connection = self._connect()
        try:
            with connection:  # commits or rolls back, and closes
                connection.execute(
                    f"set local idle_in_transaction_session_timeout = {round(self.stuck * 1000)}".encode()
                )
                yield PostgresSession(connection)
        except (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.errors.IdleInTransactionSessionTimeout,
        ) as error:
            raise DatabaseUnavailable(reason=_first_line(error)) from error

    def _connect(self) -> psycopg.Connection[dict[str, Any]]:
        give_up = time.monotonic() + self.patience
        pause = 0.05
        while True:
            try:
                return psycopg.connect(
                    self._url, connect_timeout=5, row_factory=dict_row, prepare_threshold=None
                )
            except psycopg.OperationalError as error:
                if not _PASSES.search(str(error)) or time.monotonic() + pause > give_up:
                    raise DatabaseUnavailable(reason=_first_line(error)) from error
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, 1.0)

    def migrate(self) -> list[str]:
        with self._connect() as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            connection.execute(
                "create table if not exists schema_migrations (name text primary key, applied_at text not null)"
            )
            applied = {row["name"] for row in connection.execute("select name from schema_migrations")}
            new = [(name, statements) for name, statements in migrations() if name not in applied]
            for name, statements in new:
                for statement in statements:
                    connection.execute(statement.encode())
                connection.execute("insert into schema_migrations values (%s, now())", [name])
        return [name for name, _ in new]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
