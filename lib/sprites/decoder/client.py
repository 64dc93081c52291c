"""The parent's end of the decoder: starts the child, talks to it, ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from lib.errors import DecoderFailed
from lib.sprites.decoder import wire
from lib.sprites.limits import Limits

ROOT = Path(__file__).parents[3]
PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "LANG", "TZ")
"""All that the child sees of the environment: no credentials."""


class Decoder:
    """Context manager. Requests may be written by several threads; one reads the answers.

    Raises DecoderFailed where the child crashed, hung, or ran into a limit.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lib.sprites.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._turn = threading.Lock()
        self._waiting_since: float | None = None
        self._hung = False
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_silence, name="decoder-watch", daemon=True)
        self._watch.start()
        self.ask({"memory": limits.memory, "cpu": limits.cpu})

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.stop()
        self._process.wait()
        self._watch.join()
        for pipe in (self._requests, self._answers):
            try:
                pipe.close()
            except OSError:  # what was not flushed has no reader any more
                continue

    def stop(self) -> None:
        """Ends the child; whoever waits for it gets DecoderFailed."""
        self._process.kill()

    def ask(self, head: dict[str, Any], body: bytes = b"") -> None:
        try:
            with self._turn:
                wire.write(self._requests, head, body)
        except (OSError, ValueError):
            raise self._failure() from None

    def answer(self) -> wire.Message:
        self._waiting_since = time.monotonic()
        try:
            head, body = wire.read(self._answers)
        except (EOFError, OSError, ValueError):
            raise self._failure() from None
        finally:
            self._waiting_since = None
        if "failed" in head:
            raise DecoderFailed(reason=head["failed"])
        return head, body

    def _failure(self) -> DecoderFailed:
        if self._hung:
            return DecoderFailed(reason=f"it was silent for {self._limits.silence:.0f} s")
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return DecoderFailed(reason="it talked nonsense")
        return DecoderFailed(reason=f"signal {-code}" if code < 0 else f"exit code {code}")

    def _watch_silence(self) -> None:
        while not self._ended.wait(0.5):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._limits.silence:
                self._hung = True
                self._process.kill()
                return
