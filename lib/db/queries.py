"""Reads the named statements and the numbered migrations from sql/.

A loader of our own: aiosql does the same and costs 48 ms of every cold start.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

SQL = Path(__file__).parent / "sql"


@cache
def queries() -> dict[str, str]:
    """Statement by name, parameters as `:name` (what sqlite3 takes)."""
    text = (SQL / "queries.sql").read_text("utf-8")
    blocks = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: _bare(body) for name, body in zip(blocks[::2], blocks[1::2], strict=True)}


def _bare(sql: str) -> str:
    return re.sub(r"^--.*\n", "", sql, flags=re.MULTILINE).strip().rstrip(";")


@cache
def pyformat(sql: str) -> str:
    """The statement with parameters as `%(name)s` (what psycopg takes)."""
    return re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", sql.replace("%", "%%"))


def migrations() -> list[tuple[str, list[str]]]:
    """(name, statements) in the order of their numbers."""
    found = []
    for path in sorted((SQL / "migrations").glob("*.sql")):
        text = re.sub(r"\s*--.*", "", path.read_text("utf-8"))
        found.append((path.stem, [part.strip() for part in text.split(";") if part.strip()]))
    return found
