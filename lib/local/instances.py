"""A pool of function instances, each a process that runs one event at a time."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from lib import log
from lib.errors import Throttled

QUEUE = 100_000
"""Events that may wait for one function, as on SCF."""


@dataclass(frozen=True)
class Function:
    name: str
    instances: int
    retries: int  # after an error, like SCF's asynchronous invocation
    retry_seconds: float
    limit: float  # seconds


@dataclass(frozen=True)
class _Event:
    id: str
    message: Mapping[str, Any]
    tried: int = 0


class Instances:
    """Runs the events of one function."""

    def __init__(self, function: Function, environment: Mapping[str, str], output: IO[str] | None) -> None:
        self._function = function
        self._environment = dict(environment)
        self._output = output
        self._events: queue.Queue[_Event | None] = queue.Queue(QUEUE)
        self._threads = [
            threading.Thread(target=self._serve, name=f"{function.name}-{number}", daemon=True)
            for number in range(function.instances)
        ]
        self._later: set[threading.Timer] = set()
        self._processes: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped = True
        for timer in list(self._later):
            timer.cancel()
        for _ in self._threads:
            self._events.put(None)
        for process in list(self._processes):
            process.kill()
        for thread in self._threads:
            thread.join()

    def invoke(self, message: Mapping[str, Any]) -> None:
        """Queues an event. Raises Throttled."""
        try:
            self._events.put_nowait(_Event(str(uuid.uuid4()), message))
        except queue.Full:
            raise Throttled(function=self._function.name, reason=f"{QUEUE} events wait already") from None

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def _serve(self) -> None:
        process: subprocess.Popen[str] | None = None
        while (event := self._events.get()) is not None and not self._stopped:
            if process is None or process.poll() is not None:
                process = self._spawn()
            problem = self._run(process, event)
            if problem:
                self._failed(event, problem)
        if process is not None:
            self._bury(process)

    def _spawn(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "lib.local.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
            encoding="utf-8",
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for the platform, which stops its instances in order
        )
        self._processes.add(process)
        return process

    def _run(self, process: subprocess.Popen[str], event: _Event) -> str:
        """What went wrong; "" if nothing did."""
        context = {
            "request_id": event.id,
            "function_name": self._function.name,
            "time_limit_in_ms": round(self._function.limit * 1000),
            "memory_limit_in_mb": 1024,
        }
        request = {"function": self._function.name, "event": event.message, "context": context}
        overtime = threading.Timer(self._function.limit, process.kill)
        overtime.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            overtime.cancel()
        if not line.endswith("\n"):  # nothing, or the beginning of an answer
            self._bury(process)
            return f"the instance died (exit code {process.returncode})"
        return str(json.loads(line).get("error", ""))

    def _bury(self, process: subprocess.Popen[str]) -> None:
        self._processes.discard(process)
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not flushed has no reader any more
                    pipe.close()

    def _failed(self, event: _Event, problem: str) -> None:
        if self._stopped:
            return
        again = event.tried < self._function.retries
        log.outcome(
            "invocation.failed",
            level="error",
            function=self._function.name,
            reason=problem,
            again="yes" if again else "no",
        )
        if again:
            timer = threading.Timer(
                self._function.retry_seconds,
                lambda: self._events.put(_Event(event.id, event.message, event.tried + 1)),
            )
            timer.daemon = True
            self._later.add(timer)
            timer.start()
