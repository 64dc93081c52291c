"""A fleet of function instances: processes with threads that run the real handlers on the real settings.

Invocations wait in one queue, as in the platform's: an upload event that fails comes again twice, a capture never.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.faults.receivers import Server

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["lib.app", "lib.db.postgres", "lib.db.sqlite", "lib.sprites", __name__])
UPLOAD_RETRIES = 2
TIMER_SECONDS = 1.0


def serve(environment: Mapping[str, str], threads: int, events: Any, done: Any) -> None:
    """An instance's life: (function, event, retries left) in, (function, error) out; None ends one of its threads."""
    os.environ.update(environment)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - its log is nobody's
    from handlers import on_task, on_timer, on_upload

    handlers = {module.__name__.rpartition(".")[2]: module for module in (on_task, on_timer, on_upload)}

    def work() -> None:
        while (message := events.get()) is not None:
            function, event, retries = message
            try:
                handlers[function].main_handler(event, {"request_id": "r", "time_limit_in_ms": 900_000})
                problem = ""
            except Exception as error:  # noqa: BLE001 - told to whoever runs the fleet
                problem = f"{function}: {type(error).__name__}: {error}"
                if retries:
                    events.put((function, event, retries - 1))
            done.put((function, problem, retries))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


class Fleet:
    """What runs, how to give it work, and what went wrong."""

    def __init__(self, processes: int, threads: int) -> None:
        self.events = PROCESSES.Queue()
        self._done = PROCESSES.Queue()
        self._processes, self._threads = processes, threads
        self.problems: list[str] = []
        """What handlers raised."""
        self.lost: list[str] = []
        """The problems of events that are not tried again."""

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        self.events.put((function, event, UPLOAD_RETRIES if function == "on_upload" else 0))

    def start(self, environment: Mapping[str, str]) -> None:
        self._instances = [
            PROCESSES.Process(target=serve, args=(environment, self._threads, self.events, self._done))
            for _ in range(self._processes)
        ]
        for instance in self._instances:
            instance.start()

    def collect(self, seconds: float) -> None:
        """Hears for so long what became of events."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                _, problem, retries = self._done.get(timeout=left)
            except queue.Empty:
                return
            if problem:
                self.problems.append(problem)
                if not retries:
                    self.lost.append(problem)

    def stop(self) -> None:
        for _ in range(self._processes * self._threads):
            self.events.put(None)
        for instance in self._instances:
            while instance.is_alive():
                self.collect(0.1)
            instance.join()


@contextmanager
def running(environment: Mapping[str, str], *, processes: int, threads: int) -> Iterator[Fleet]:
    """The fleet and the address at which its functions are invoked."""
    fleet = Fleet(processes, threads)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fleet.invoke(self.path.rpartition("/")[2], event)
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        fleet.start({**environment, "INVOKE_URL": f"http://127.0.0.1:{server.server_address[1]}/invoke"})
        try:
            yield fleet
        finally:
            fleet.stop()
            server.shutdown()
            thread.join()
