"""What the command line does."""

from __future__ import annotations

import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.app import app, load_settings, open_definitions, open_source
from lib.errors import Invalid
from lib.sprites import Definition, capture
from lib.sprites.documents import ALL, render_all

if TYPE_CHECKING:
    from lib.sprites.sheets import Sheet


def sprite(chosen: Namespace) -> int:
    """The engine alone. Raises Invalid, MediaError, StorageError."""
    definition = _definition(chosen)
    for name in chosen.documents.split(","):
        if name not in ALL:
            raise Invalid(field="--documents", problem=f"{name!r} is not one of {', '.join(ALL)}")
    out: Path = chosen.out
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def emit(sheet: Sheet) -> None:
        _write(out / sheet.name, sheet.data)

    source, name = open_source(chosen.video)
    manifest = capture(
        source,
        definition,
        sheet_name=lambda number: f"sprite_{number}.{definition.format}",
        emit=emit,
        source={"key": name, "etag": source.etag},
        progress=Progress(sys.stderr),
    )
    files = render_all(
        dict.fromkeys(("vtt", *chosen.documents.split(","))),
        manifest,
        folder_url=chosen.base_url,
        sheet_bytes=lambda name: (out / name).read_bytes(),
    )
    for name, data in files.items():
        _write(out / ALL[name].file, data)
    manifest = replace(manifest, documents={name: ALL[name].file for name in files})
    _write(out / "manifest.json", manifest.to_json().encode())
    if manifest.outcome != "complete":
        print(
            f"warning: the video is incomplete; {manifest.coverage:.0%} of it could be shown", file=sys.stderr
        )
    print(
        f"{len(manifest.tiles)} tiles on {len(manifest.sheets)} sheet(s) in {out}; read {manifest.read.bytes:,} of "
        f"{manifest.source.size:,} bytes in {manifest.read.requests} requests; {time.monotonic() - began:.2f} s"
    )
    return 0


def _definition(chosen: Namespace) -> Definition:
    definition = open_definitions(load_settings()).get(chosen.definition)
    changes: dict[str, Any] = {
        name: value
        for name in ("rows", "columns", "width", "height", "format", "fill", "accuracy")
        if (value := getattr(chosen, name)) is not None
    }
    if chosen.interval is not None:
        changes |= {"sampling": "time", "interval": chosen.interval}
    if chosen.percent is not None:
        changes |= {"sampling": "percent", "interval": chosen.percent}
    return replace(definition, **changes)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(data)
    unfinished.replace(path)


class Progress:
    """A bar on a terminal; elsewhere a line at every tenth."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._tenth = -1

    def __call__(self, done: int, total: int) -> None:
        if self._terminal:
            bar = "#" * (done * 40 // total)
            end = "\n" if done == total else ""
            self._stream.write(f"\r[{bar:<40}] {done}/{total} tiles{end}")
        elif done * 10 // total != self._tenth:
            self._tenth = done * 10 // total
            self._stream.write(f"{done}/{total} tiles\n")
        self._stream.flush()


def demo(chosen: Namespace) -> int:
    from lib.local import demo as local_demo

    return local_demo.main(chosen.video)


def serve(chosen: Namespace) -> int:
    """Until it is interrupted. Raises ConfigurationError."""
    from lib.local.platform import Platform

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    platform = Platform({}, port=chosen.port)
    with platform:
        chosen_settings = platform.settings
        watched = chosen_settings.BUCKET_DIR / chosen_settings.WATCH_PREFIX
        if chosen_settings.STORAGE == "folder":
            watched.mkdir(parents=True, exist_ok=True)
            print(
                f"Drop videos into {watched} ; sprites appear in "
                f"{chosen_settings.BUCKET_DIR / chosen_settings.OUTPUT_PREFIX}"
            )
        print(
            f"Served at {platform.url}/bucket/ ; events go to {chosen_settings.CALLBACK_URL or 'the pull queue'}; "
            "Ctrl-C stops.",
            flush=True,
        )
        try:
            stop.wait()
        except KeyboardInterrupt:
            print("\nStopping.", flush=True)
    return 0


def tasks(chosen: Namespace) -> int:
    """Raises TaskNotFound, DatabaseUnavailable."""
    record = app().tasks
    if chosen.task:
        task = record.get(chosen.task)
        for name, value in vars(task).items():
            print(f"{name:<12} {_time(value) if name.endswith(('_at', '_until')) else value}")
        _table(
            ["attempt", "started", "seconds", "outcome", "bytes", "reason"],
            (
                [
                    row["attempt"],
                    _time(row["started_at"]),
                    _seconds(row["started_at"], row["finished_at"]),
                    row["outcome"] or "-",
                    row["bytes_read"] or "-",
                    row["reason"],
                ]
                for row in record.attempts(chosen.task)
            ),
        )
        return 0
    _table(
        ["created", "state", "outcome", "try", "task", "key", "reason"],
        (
            [
                _time(task.created_at),
                task.state,
                task.outcome or "-",
                task.attempt,
                task.id,
                task.key,
                task.reason,
            ]
            for task in record.newest(state=chosen.state, limit=chosen.limit)
        ),
    )
    return 0


def events(chosen: Namespace) -> int:
    """Raises DatabaseUnavailable."""
    _table(
        ["created", "delivery", "tries", "next", "status", "event", "task", "reason"],
        (
            [
                _time(row["created_at"]),
                row["state"] or "pull only",
                row["attempt"] or 0,
                _time(row["due_at"]),
                row["status"] or "-",
                row["id"],
                row["task_id"],
                row["reason"] or "",
            ]
            for row in app().deliveries.newest(task_id=chosen.task, limit=chosen.limit)
        ),
    )
    return 0


def retry(chosen: Namespace) -> int:
    """Raises TaskNotFound, DatabaseUnavailable."""
    root = app()
    again = root.deliveries.redeliver(chosen.task)
    task = root.tasks.reopen(chosen.task)
    print(f"{task.id} is {task.state}; the timer starts it. {again} deliveries are due again.")
    return 0


def migrate(_chosen: Namespace) -> int:
    """Raises DatabaseUnavailable."""
    applied = app().database.migrate()
    print("applied: " + ", ".join(applied) if applied else "the database is up to date")
    return 0


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def _seconds(start: float, end: float | None) -> str:
    return "-" if end is None else f"{end - start:.2f}"
