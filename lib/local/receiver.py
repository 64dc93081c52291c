"""A user's backend as small as it can be: takes events over HTTP, verifies them, knows each only once."""

from __future__ import annotations

import json
import queue
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lib.errors import BadSignature
from lib.signing import webhooks


@dataclass(frozen=True)
class Received:
    id: str  # webhook-id
    event: dict[str, Any]
    at: float  # UNIX seconds


class Receiver:
    """Context manager; `url` is where to send, `events` what came, each webhook-id once."""

    def __init__(self, keys: webhooks.Keyring) -> None:
        self.events: queue.Queue[Received] = queue.Queue()
        seen: set[str] = set()
        events = self.events

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    message_id = webhooks.verify(dict(self.headers), body, keys, now=time.time())
                except BadSignature:
                    self.send_response(401)
                    self.end_headers()
                    return
                if message_id not in seen:
                    seen.add(message_id)
                    events.put(Received(message_id, json.loads(body), time.time()))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Quiet: the demo prints what came."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}/events"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="receiver", daemon=True
        )

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
