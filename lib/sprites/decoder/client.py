"""The parent's end of the decoder: starts the child, talks to it, ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from lib.errors import DecoderFailed
from lib.sprites.decoder import wire
from lib.sprites.decoder.answers import doubting, text
from lib.sprites.definition import MAX_SIDE
from lib.sprites.limits import Limits

ROOT = Path(__file__).parents[3]
PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "LANG", "TZ")
"""All that the child sees of the environment: no credentials."""
MAX_PICTURE = (4 * MAX_SIDE + 256) * MAX_SIDE
"""Bytes of the largest tile; rows may be padded."""


class Decoder:
    """Context manager. Requests may be written by several threads; one reads the answers.

    Raises DecoderFailed where the child crashed, hung, or ran into a limit.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turn = threading.Lock()
        self._writing_since: float | None = None
        self._written = 0.0
        self._waiting_since: float | None = None
        self._is_fed: Callable[[], bool] = _never
        self._hung = False
        self._ended = threading.Event()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lib.sprites.decoder"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment,
            )
        except OSError as error:
            raise DecoderFailed(reason=f"it cannot be started ({error.strerror})") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._watch = threading.Thread(target=self._watch_silence, name="decoder-watch", daemon=True)
        try:
            self._watch.start()
            self.ask({"memory": limits.memory, "cpu": limits.cpu})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._ended.set()
        self.stop()
        self._process.wait()
        if self._watch.ident is not None:
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
                self._writing_since = time.monotonic()
                try:
                    wire.write(self._requests, head, body)
                finally:
                    self._written, self._writing_since = time.monotonic(), None
        except OSError:
            raise self._failure() from None

    def answer(self, is_fed: Callable[[], bool] | None = None) -> wire.Message:
        """`is_fed`: whether something is on its way to the child, without which it may have nothing to say."""
        self._is_fed = is_fed or _never
        self._waiting_since = time.monotonic()
        try:
            with doubting():
                head, body = wire.read(self._answers, MAX_PICTURE)
                failed = text(head["failed"]) if "failed" in head else None
        except (EOFError, OSError):
            raise self._failure() from None
        finally:
            self._waiting_since = None
        if failed is not None:
            raise DecoderFailed(reason=failed)
        return head, body

    def _failure(self) -> DecoderFailed:
        if self._hung:
            return DecoderFailed(reason=f"it was silent for {self._limits.silence:.0f} s")
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return DecoderFailed(reason="it hung up")
        return DecoderFailed(reason=f"signal {-code}" if code < 0 else f"exit code {code}")

    def _watch_silence(self) -> None:
        while not self._ended.wait(min(0.5, self._limits.silence)):
            if self._is_silent():
                self._hung = True
                self._process.kill()
                return

    def _is_silent(self) -> bool:
        """Whether it does not take what is written, or does not answer though it has all it needs for that."""
        before = time.monotonic() - self._limits.silence
        writing, waiting = self._writing_since, self._waiting_since
        if writing is not None and writing < before:
            return True
        return waiting is not None and max(waiting, self._written) < before and not self._is_fed()


def _never() -> bool:
    return False
