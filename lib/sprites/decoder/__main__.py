"""The child: takes requests on standard input, answers on standard output, ends when either is closed.

    track     a codec; answers ready, or unsupported       (then: shape, tile, key, run + samples + end: see lanes)
    open      a file that FFmpeg's demuxers take, read through the parent; answers its facts, or an outcome
    show      pictures for instants of that file

Anything that goes wrong here goes wrong here alone: limits are set before the first byte is looked at.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from lib.sprites.decoder import wire


def main() -> None:
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    limits, _ = wire.read(requests)
    _restrict(limits)
    child = _Child(requests, answers)

    def fail(error: BaseException | None) -> None:
        """Whatever goes wrong in any thread ends the child, and the parent is told."""
        with suppress(OSError):
            child.answer({"failed": f"{type(error).__name__}: {error}"[:500]})
        os._exit(1)

    threading.excepthook = lambda failure: fail(failure.exc_value)
    try:
        child.serve()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent has what it wanted; lanes may still wait
    except Exception as error:  # noqa: BLE001
        fail(error)


def _restrict(limits: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory"], limits["memory"]))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu"], limits["cpu"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


class _Child:
    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers
        self._turn = threading.Lock()

    def answer(self, head: dict[str, Any], body: bytes | memoryview = b"") -> None:
        with self._turn:
            wire.write(self._answers, head, body)

    def serve(self) -> None:
        head, body = wire.read(self._requests)
        if head["do"] == "track":
            self._decode(head, body)
        else:
            self._demux(head)

    def _decode(self, head: dict[str, Any], extradata: bytes) -> None:
        import av

        from lib.sprites.decoder.lanes import Codec, Lane

        try:
            codec = Codec(head, extradata)
            lanes = [Lane(codec, self.answer) for _ in range(head["lanes"])]
        except (ValueError, av.FFmpegError):
            self.answer({"ready": False})
            return
        for lane in lanes:
            lane.start()
        self.answer({"ready": True})
        while True:
            head, body = wire.read(self._requests)
            if head["do"] == "tile":
                codec.tile = head
            else:
                lanes[head["lane"]].tasks.put((head, body))

    def _demux(self, head: dict[str, Any]) -> None:
        from lib.errors import MediaError
        from lib.sprites.decoder.demuxed import Demuxed

        try:
            file = Demuxed(self._read, head)
            self.answer(file.facts())
            while True:
                head, _ = wire.read(self._requests)
                for picture, pixels in file.show(head):
                    self.answer(picture, pixels)
                self.answer({"done": True})
        except MediaError as error:
            self.answer({"outcome": error.outcome, "reason": error.reason})

    def _read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The parent reads; when it cannot, it has no more use for us."""
        self.answer({"want": ranges})
        head, body = wire.read(self._requests)
        blocks, start = [], 0
        for length in head["lengths"]:
            blocks.append(body[start : start + length])
            start += length
        return blocks


if __name__ == "__main__":
    main()
