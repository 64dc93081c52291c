"""One attempt at a task by our own engine. Invoked by the other functions with the task's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.app import app
from lib.validation import invocation


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, str]:
    task_id = invocation.parse(event)
    return {"task": task_id, "outcome": app(context).attempt(task_id)}
