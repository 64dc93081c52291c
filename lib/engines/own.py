"""Our own engine: a function invocation per attempt."""

from __future__ import annotations

from lib.ports import Invoker, Task


class OwnEngine:
    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    def start(self, task: Task) -> None:
        self._invoker.invoke("on_task", {"task": task.id})
