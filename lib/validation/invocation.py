"""The event by which our functions invoke on_task: {"task": "<vodTaskId>"}."""

from __future__ import annotations

from typing import Any

from lib.errors import Invalid


def parse(event: Any) -> str:
    """The task's id. Raises Invalid."""
    task = event.get("task") if isinstance(event, dict) else None
    if not isinstance(task, str) or not task:
        raise Invalid(field="task", problem='this function is invoked with {"task": "<vodTaskId>"}')
    return task
