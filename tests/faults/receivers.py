"""A user's backend that knows an event by its `webhook-id`, and counts what is sent twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        """How often each webhook-id came."""
        self.accepted: dict[str, dict[str, Any]] = {}
        """Events by webhook-id."""
        self.url = ""

    def of(self, task_id: str) -> list[str]:
        """The ids of events that tell of this task."""
        return [event for event, body in self.accepted.items() if body["data"]["vodTaskId"] == task_id]


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver, lock = Receiver(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                receiver.sent[self.headers["webhook-id"]] += 1
                receiver.accepted.setdefault(self.headers["webhook-id"], body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/events"
        yield receiver
        server.shutdown()
        thread.join()
