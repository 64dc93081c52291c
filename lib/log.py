"""One JSON line per outcome on standard output, where SCF collects it.

{"time": "2026-01-01T00:00:00.000Z", "level": "info", "outcome": "task.complete", "request": "...", ...}
"""

from __future__ import annotations

import json
import sys
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

_request: ContextVar[str] = ContextVar("request", default="")


def bind(request_id: str) -> None:
    """Every line from here on names this invocation."""
    _request.set(request_id)


def outcome(name: str, *, level: str = "info", **facts: Any) -> None:
    """`name` is `<thing>.<what became of it>`; facts are short values, never a secret, never a whole message."""
    line = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "outcome": name,
        "request": _request.get(),
        **{key: value for key, value in facts.items() if value not in (None, "")},
    }
    sys.stdout.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()
