"""The platform: bucket, triggers, timer, function instances and HTTP, started and stopped together."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING, Any

import waitress
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Request, Response

from lib import settings as settings_module
from lib.app import open_database, open_storage
from lib.errors import ConfigurationError, Throttled
from lib.local.instances import Function, Instances
from lib.local.watcher import Watcher
from lib.settings import Settings
from lib.web.bucket import BucketApp

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOST = "127.0.0.1"


class Platform:
    """`environment` holds settings that go before those of the process and of `.env`.

    Raises ConfigurationError before anything is started.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        port: int = 0,
        timer_seconds: float = 5.0,
        retry_seconds: float = 60.0,
        output: IO[str] | None = None,
    ) -> None:
        listener = _listen(port)
        try:
            self._prepare(listener.getsockname()[1], environment)
        except BaseException:
            listener.close()
            raise
        routes = DispatcherMiddleware(
            _front,
            {
                "/bucket": BucketApp(self.storage, output_prefix=self.settings.OUTPUT_PREFIX),
                "/invoke": _Invocations(self.invoke),
            },
        )
        self._server = waitress.create_server(
            routes, sockets=[listener], threads=8, clear_untrusted_proxy_headers=True
        )
        self._functions = {
            function.name: Instances(function, self.environment, output)
            for function in (
                Function("on_upload", 2, 2, retry_seconds, 60.0),
                Function("on_task", self.settings.CAPTURES_AT_ONCE, 0, retry_seconds, 900.0),
                Function("on_timer", 1, 0, retry_seconds, 60.0),
            )
        }
        self._web = threading.Thread(target=self._server.run, name="web", daemon=True)
        self._watcher = Watcher(
            self.storage,
            self.settings.WATCH_PREFIX,
            self.settings.REGION,
            lambda event: self.invoke("on_upload", event),
        )
        self._timer = _Timer(timer_seconds, lambda event: self.invoke("on_timer", event))

    def _prepare(self, port: int, environment: Mapping[str, str]) -> None:
        """Everything that a wrong setting can spoil."""
        self.url = f"http://{HOST}:{port}"
        self.environment = {
            "CAPTURES_AT_ONCE": str(os.cpu_count() or 1),
            "PUBLIC_BASE_URL": f"{self.url}/bucket",
            **settings_module.read_env_file(),
            **os.environ,
            **environment,
            "INVOKE_URL": f"{self.url}/invoke",
        }
        self.settings: Settings = settings_module.load(self.environment)
        open_database(self.settings).migrate()
        self.storage = open_storage(self.settings)

    def __enter__(self) -> Platform:
        self._web.start()
        for instances in self._functions.values():
            instances.start()
        self._watcher.start()
        self._timer.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._timer.stop()
        self._watcher.stop()
        for instances in self._functions.values():
            instances.stop()
        self._server.close()
        self._web.join(timeout=5)

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """Starts a function and does not wait for it. Raises Throttled, KeyError."""
        self._functions[function].invoke(event)

    def pids(self, function: str) -> list[int]:
        return self._functions[function].pids


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ConfigurationError(
            variable="--port", problem=f"{HOST}:{port} cannot be used: {error.strerror or error}"
        ) from error


class _Timer:
    """The timer trigger."""

    def __init__(self, seconds: float, fire: Callable[[Mapping[str, Any]], None]) -> None:
        self._seconds = seconds
        self._fire = fire
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            now = datetime.fromtimestamp(time.time(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._fire({"Type": "Timer", "TriggerName": "tick", "Time": now, "Message": ""})


class _Invocations:
    """WSGI: POST /<function> queues its body as an event, as SCF's Invoke does."""

    def __init__(self, invoke: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._invoke = invoke

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        # A web page that the user opens can reach loopback too, but cannot send this type without asking first.
        if request.method != "POST" or request.mimetype != "application/json":
            return Response(status=405)(environ, start_response)
        try:
            self._invoke(request.path.strip("/"), json.loads(request.get_data(as_text=True)))
        except KeyError:
            return Response("there is no such function\n", 404)(environ, start_response)
        except ValueError:
            return Response("the event is not JSON\n", 400)(environ, start_response)
        except Throttled:
            return Response("too many events wait\n", 429)(environ, start_response)
        return Response(status=202)(environ, start_response)


def _front(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    path = environ.get("PATH_INFO", "/")
    if path == "/":
        text = "Filmstrip is running here. Objects of the bucket are under /bucket/.\n"
        return Response(text, content_type="text/plain; charset=utf-8")(environ, start_response)
    return Response("there is nothing here; objects of the bucket are under /bucket/\n", 404)(
        environ, start_response
    )
