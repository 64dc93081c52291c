"""The embedded database: one file, one machine. Never on a network file system (WAL needs shared memory)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lib.db.queries import migrations, queries
from lib.errors import ConfigurationError, DatabaseUnavailable
from lib.ports import Row

BUSY_SECONDS = 30


class SqliteSession:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, query: str, **parameters: Any) -> list[Row]:
        return self._connection.execute(queries()[query], parameters).fetchall()

    def one(self, query: str, **parameters: Any) -> Row | None:
        rows = self.all(query, **parameters)
        return rows[0] if rows else None

    def run(self, query: str, **parameters: Any) -> int:
        return self._connection.execute(queries()[query], parameters).rowcount


class SqliteDatabase:
    def __init__(self, path: Path) -> None:
        if sqlite3.sqlite_version_info < (3, 35):
            raise ConfigurationError(
                variable="DATABASE_URL",
                problem=f"SQLite {sqlite3.sqlite_version} is too old (RETURNING needs 3.35); use PostgreSQL.",
            )
        self._path = path

    @contextmanager
    def transaction(self) -> Iterator[SqliteSession]:
        with self._connection() as connection:
            # Immediate: two writers queue at the start instead of failing in the middle.
            connection.execute("begin immediate")
            try:
                yield SqliteSession(connection)
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.row_factory = _as_dict
                yield connection
        except sqlite3.OperationalError as error:
            raise DatabaseUnavailable(reason=f"{self._path}: {error}") from error

    def migrate(self) -> list[str]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("pragma journal_mode = wal")
            connection.execute("begin immediate")
            connection.execute(
                "create table if not exists schema_migrations (name text primary key, applied_at text not null)"
            )
            applied = {row["name"] for row in connection.execute("select name from schema_migrations")}
            new = [(name, statements) for name, statements in migrations() if name not in applied]
            for name, statements in new:
                for statement in statements:
                    connection.execute(statement)
                connection.execute("insert into schema_migrations values (?, current_timestamp)", [name])
            connection.execute("commit")
        return [name for name, _ in new]


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}
