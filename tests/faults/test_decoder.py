"""Whatever happens to the process that decodes, a capture ends in good time, by name, and leaves nothing behind."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.errors import DecoderFailed, MediaError, StorageUnavailable
from lib.sprites import Definition, Limits, Manifest, capture
from lib.sprites.decoder import client
from lib.sprites.sheets import Sheet
from tests.videos import Bytes, make_barcoded

pytestmark = pytest.mark.timeout(120)

EXACT = Definition(number=1, name="a tile a second", interval=1, rows=3, columns=4, accuracy="exact")
NEAREST = replace(EXACT, accuracy="keyframe")
VIDEOS: dict[str, dict[str, Any]] = {
    "a.mp4": {"gop": 25, "b_frames": 2},
    "a.avi": {"codec": "mpeg4", "gop": 25},
    "a.mpg": {"codec": "mpeg2video", "container": "dvd", "gop": 12},
}
"""The first is decoded frame by frame, the others go through FFmpeg's demuxers."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    folder = tmp_path_factory.mktemp("videos")

    def get(name: str) -> bytes:
        path = folder / name
        if not path.exists():
            make_barcoded(path, seconds=10, **VIDEOS[name])
        return path.read_bytes()

    return get


def descriptors() -> set[tuple[str, str]]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.add((path.name, os.readlink(path)))
        except FileNotFoundError:  # the one that lists the folder
            continue
    return found


def children() -> set[int]:
    """Of all threads: each may start processes."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = descriptors(), set(threading.enumerate()), children()
    yield
    assert (descriptors(), set(threading.enumerate()), children()) == before


class Watched(Bytes):
    """A reader that lets something happen when it is read for the nth time."""

    def __init__(self, data: bytes, happen: Callable[[], None], at: int) -> None:
        super().__init__(data)
        self._happen = happen
        self._at = at

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        if self.calls == self._at:
            self._happen()
        return super().read(ranges)


def run(reader: Bytes, definition: Definition = EXACT, **options: Any) -> Manifest:
    options = {"emit": lambda _: None, **options}
    return capture(reader, definition, sheet_name=str, source={}, **options)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the processes that are started, the last at the end."""
    pids: list[int] = []
    popen = client.subprocess.Popen

    def start(*arguments: Any, **options: Any) -> Any:
        process = popen(*arguments, **options)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(client.subprocess, "Popen", start)
    return pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize("name", VIDEOS)
def test_a_child_that_dies_at_any_moment(
    video: Callable[[str], bytes],
    started: list[int],
    name: str,
    number: signal.Signals,
    share: Callable[[int, int], int],
) -> None:
    """At every tile, at random reads, and at once."""
    data = video(name)
    dice = random.Random(f"{name}{number}")
    calls = Bytes(data)
    run(calls)
    for _ in range(share(40, 4)):
        at = dice.randrange(10)

        def die(done: int, _total: int, at: int = at) -> None:
            if done == at:
                os.kill(started[-1], number)

        with pytest.raises(DecoderFailed, match=f"signal {number.value}"):
            run(Bytes(data), progress=die)
    for _ in range(share(40, 4)):
        # the head is read before there is a child; of an index, all reads may come before it is asked for anything
        at = dice.randrange(1, calls.calls)
        with pytest.raises(DecoderFailed, match=f"signal {number.value}"):
            run(Watched(data, lambda: os.kill(started[-1], number), at))


@pytest.mark.parametrize("definition", [EXACT, NEAREST], ids=["exact", "keyframe"])
@pytest.mark.parametrize("name", VIDEOS)
def test_a_child_that_stops(
    video: Callable[[str], bytes], started: list[int], name: str, definition: Definition
) -> None:
    """Whether it is to answer, or to take what is written."""
    data = video(name)
    calls = Bytes(data)
    run(calls, definition)
    for at in {1, calls.calls // 2, calls.calls - 1} - {0}:
        with pytest.raises(DecoderFailed, match="silent"):
            run(
                Watched(data, lambda: os.kill(started[-1], signal.SIGSTOP), at),
                definition,
                limits=Limits(silence=1.0),
            )


def test_a_child_that_takes_nothing_is_ended() -> None:
    """GIVEN a stopped child and more to write than a pipe holds THEN the writer does not wait for ever."""
    with client.Decoder(Limits(silence=0.5)) as decoder:
        os.kill(decoder._process.pid, signal.SIGSTOP)
        with pytest.raises(DecoderFailed, match="silent"):
            decoder.ask({"do": "track"}, bytes(1 << 22))


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_a_slow_reader_is_not_the_childs_fault(video: Callable[[str], bytes], name: str) -> None:
    """GIVEN storage that takes longer than the child may be silent, and then gives up THEN that is the error."""
    data, refused = video(name), StorageUnavailable(bucket="b", action="read", key="k", reason="no answer")
    calls = Bytes(data)
    run(calls)

    def give_up() -> None:
        threading.Event().wait(7.0)
        raise refused

    with pytest.raises(StorageUnavailable) as raised:
        run(Watched(data, give_up, calls.calls - 1), limits=Limits(silence=5.0))
    assert raised.value is refused


@pytest.mark.parametrize("name", VIDEOS)
def test_too_little_memory_is_named(video: Callable[[str], bytes], name: str) -> None:
    ends = set()
    for megabytes in (20, 100, 200, 260, 320):
        try:
            ends.add(run(Bytes(video(name)), limits=Limits(memory=megabytes << 20)).outcome)
        except DecoderFailed:
            ends.add("failed")
        except MediaError as error:
            ends.add(error.outcome)
    assert "failed" in ends


def test_memory_that_ends_is_not_a_damaged_frame(tmp_path: Path, share: Callable[[int, int], int]) -> None:
    """GIVEN memory for some pictures but not for all THEN no older frame is shown in the place of a lost one."""
    video = make_barcoded(tmp_path / "a.avi", codec="mpeg4", gop=25, size=(1920, 1080), seconds=3)
    ends = set()
    for megabytes in range(150, 250, share(5, 10)):
        try:
            manifest = run(Bytes(video.read_bytes()), limits=Limits(memory=megabytes << 20))
        except (DecoderFailed, MediaError) as error:
            ends.add(type(error))
        else:
            assert manifest.max_error <= 0.04
    assert DecoderFailed in ends


def test_a_child_without_time_is_named(video: Callable[[str], bytes]) -> None:
    with pytest.raises(DecoderFailed, match="signal 9"):
        run(Bytes(video("a.mp4")), limits=Limits(cpu=0))


@pytest.mark.parametrize("name", VIDEOS)
def test_errors_of_those_who_called_come_out_as_they_are(video: Callable[[str], bytes], name: str) -> None:
    refused = StorageUnavailable(bucket="b", action="read", key="k", reason="no answer")
    data = video(name)
    calls = Bytes(data)
    run(calls, NEAREST)

    def refuse(*_: object) -> None:
        raise refused

    for at in range(calls.calls):
        with pytest.raises(StorageUnavailable) as raised:
            run(Bytes(data, refused, fails_after=at), NEAREST)
        assert raised.value is refused
    for definition in (EXACT, NEAREST):
        with pytest.raises(StorageUnavailable) as raised:
            run(Bytes(data), definition, emit=refuse)
        assert raised.value is refused
        for tile in (0, 1, 5):  # in the middle of a sheet, while others are still on their way
            with pytest.raises(StorageUnavailable) as raised:
                run(Bytes(data), definition, progress=lambda done, _, tile=tile: done == tile and refuse())
            assert raised.value is refused


def test_the_child_has_no_secrets_and_no_descriptors_but_its_pipes(
    video: Callable[[str], bytes], started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("TENCENTCLOUD_SECRETKEY", "DATABASE_URL", "COS_TOKEN"):
        monkeypatch.setenv(name, "canary")
    seen: list[tuple[set[str], bytes, bytes]] = []

    def look(done: int, _total: int) -> None:
        here = Path(f"/proc/{started[-1]}")
        links = {os.readlink(path).split(":")[0] for path in (here / "fd").iterdir()}
        seen.append((links, (here / "environ").read_bytes(), (here / "cmdline").read_bytes()))

    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        for name in VIDEOS:
            run(Bytes(video(name)), progress=look)
    assert len(seen) == 3 * 12
    for links, environment, command in seen:
        assert links == {"pipe", "/dev/null"}
        assert b"canary" not in environment + command


# -- a child that somebody else took over

LIAR = """#!{python}
import json, os, struct, sys
def take():
    sizes = sys.stdin.buffer.read(8)
    if len(sizes) < 8:
        os._exit(0)
    head, body = struct.unpack("<II", sizes)
    message = json.loads(sys.stdin.buffer.read(head))
    sys.stdin.buffer.read(body)
    return message
def give(head, body=b"", *, sizes=None):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    sys.stdout.buffer.write(struct.pack("<II", *(sizes or (len(text), len(body)))) + text + body)
    sys.stdout.buffer.flush()
def wait():
    while True:
        take()
PICTURE = {{"size": [16, 10], "stride": 48, "mode": "RGB", "rotation": 0, "mirrored": False}}
FACTS = {{"size": [284, 160], "display": [284, 160], "rotation": 0, "codec": "h264", "container": "avi",
         "end": [10, 1], "data_end": [10, 1], "truncated": False}}
PIXELS = bytes(480)
take()  # the limits
message = take()
"""
BEGUN = {
    "a.mp4": 'give({"ready": True})\nmessage = take()\ngive({"found": True, "id": 0, **FACTS})\n'
    'while message["do"] not in ("key", "run"): message = take()\n',
    "a.avi": 'give(FACTS)\nmessage = take()\nmessage["id"] = 0\n',
}
ANYTIME = {
    "nothing": "sys.exit(0)",
    "an answer and an end": "give({}); sys.exit(0)",
    "an empty answer": "give({}); wait()",
    "no JSON": 'give(b"nonsense"); wait()',
    "no text": 'give(b"\\xff\\xfe"); wait()',
    "no object": 'give(b"[1, 2]"); wait()',
    "beyond all depth": 'give(b"[" * 900_000); wait()',
    "a huge number": 'give(b\'{"id": \' + b"9" * 900_000 + b"}"); wait()',
    "a huge head": "give({}, sizes=(1 << 31, 0)); wait()",
    "a huge body": "give({}, sizes=(2, (1 << 32) - 1)); wait()",
    "a failure that is no text": 'give({"failed": {"a": 1}}); wait()',
    "half an answer": "give({}, sizes=(2, 100)); sys.exit(0)",
}
AT_FIRST = {
    "no size": 'give({"ready": True, "found": True}); wait()',
    "no width": 'give({**FACTS, "display": [0, 160], "ready": True, "found": True})\nwhile True: give({**FACTS, '
    '"display": [0, 160], "found": True}); take()',
    "odd turns": 'while True: give({**FACTS, "rotation": 45, "ready": True, "found": True}); take()',
    "sizes of text": 'while True: give({**FACTS, "size": "ab", "ready": True, "found": True}); take()',
    "more than there is": 'while True: give({**FACTS, "size": [1 << 80, 1], "ready": True, "found": True}); take()',
}
OF_DEMUXERS = {
    "an end that is no time": 'give({**FACTS, "end": [1, 0]}); wait()',
    "an end beyond all times": 'give({**FACTS, "end": [1 << 900, 1]}); wait()',
    "an end before the beginning": 'give({**FACTS, "end": [-5, 1]}); wait()',
    "an outcome nobody knows": 'give({"outcome": "fine", "reason": ""}); wait()',
    "an outcome that deletes": 'give({"outcome": "gone", "reason": "ha"}); wait()',
    "an outcome without reason": 'give({"outcome": "corrupt"}); wait()',
    "a wish for everything": 'give({"want": [[0, 1 << 50]]}); wait()',
    "a wish for what is before": 'give({"want": [[-5, 5]]}); wait()',
    "a wish that is none": 'give({"want": 7}); wait()',
    "a wish the other way round": 'give({"want": [[5, 1]]}); wait()',
    "wishes without listening": 'while True: give({"want": [[0, 5000]]})',
}
OF_PICTURES = {
    "no picture": 'give({"found": True, "id": message["id"]}); wait()',
    "an unknown id": 'give({"found": True, "id": 99, "number": 99, "time": 0, **PICTURE}, PIXELS); wait()',
    "an id that is a list": 'give({"found": False, "id": [], "number": []}); wait()',
    "a number below": 'give({"found": True, "id": message["id"], "number": -1, "time": -1, **PICTURE}, PIXELS); wait()',
    "the same for ever": 'while True: give({"found": True, "id": message["id"], "number": 0, "time": [0, 1], '
    "**PICTURE}, PIXELS)",
    "a giant": 'give({"found": True, "id": message["id"], "number": 0, "time": 0, **PICTURE, '
    '"size": [1000000, 1000000]}, PIXELS); wait()',
    "too few pixels": 'give({"found": True, "id": message["id"], "number": 0, "time": 0, **PICTURE}, '
    "PIXELS[1:]); wait()",
    "a mode nobody knows": 'give({"found": True, "id": message["id"], "number": 0, "time": 0, **PICTURE, '
    '"mode": "P"}, PIXELS); wait()',
    "no time": 'give({"found": True, "id": message["id"], "number": 0, "time": "now", **PICTURE}, PIXELS); wait()',
    "a time that is no number": 'give({"found": True, "id": message["id"], "number": 0, "time": float("nan"), '
    "**PICTURE}, PIXELS); wait()",
}
OF_LANES = {
    "the same done twice": 'while True: give({"found": True, "id": message["id"], "done": True, "number": 0})',
}
LIES = {
    **{f"{name}: {lie}": (name, text) for name in BEGUN for lie, text in (ANYTIME | AT_FIRST).items()},
    **{f"a.avi: {lie}": ("a.avi", text) for lie, text in OF_DEMUXERS.items()},
    **{
        f"{name}, begun: {lie}": (name, begun + text)
        for name, begun in BEGUN.items()
        for lie, text in (ANYTIME | OF_PICTURES).items()
    },
    **{f"a.mp4: {lie}": ("a.mp4", BEGUN["a.mp4"] + text) for lie, text in OF_LANES.items()},
}
"""Which video is captured, and what the child does then."""


def tell(monkeypatch: pytest.MonkeyPatch, folder: Path, lie: str) -> None:
    script = folder / "liar"
    script.write_text(LIAR.format(python=sys.executable) + lie)
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))


@pytest.mark.parametrize("definition", [EXACT, NEAREST], ids=["exact", "keyframe"])
@pytest.mark.parametrize(("name", "script"), LIES.values(), ids=LIES)
def test_a_child_that_lies(
    video: Callable[[str], bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    script: str,
    definition: Definition,
) -> None:
    tell(monkeypatch, tmp_path, script)
    emitted: list[Sheet] = []
    with pytest.raises(DecoderFailed) as raised:
        run(Bytes(video(name)), definition, emit=emitted.append, limits=Limits(silence=2.0))
    assert "exit code 1" not in str(raised.value), "the liar itself does not work"
    assert not emitted


@pytest.mark.parametrize("definition", [EXACT, NEAREST], ids=["exact", "keyframe"])
def test_a_child_that_answers_before_it_is_asked(
    video: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, definition: Definition
) -> None:
    """GIVEN all answers at once, and nobody who takes what is sent THEN the senders do not wait for ever."""
    lie = (
        'import time\nfor key in range(10): give({"found": False, "done": True, "id": key})\n'
        "while True: time.sleep(1)"
    )
    tell(monkeypatch, tmp_path, BEGUN["a.mp4"] + lie)
    with pytest.raises((DecoderFailed, MediaError)):
        run(Bytes(video("a.mp4")), definition, limits=Limits(silence=1.0))


def test_a_child_that_cannot_be_started(
    video: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for program in (tmp_path / "missing", Path("/dev/null"), Path("/bin/false")):
        monkeypatch.setattr(sys, "executable", str(program))
        with pytest.raises(DecoderFailed):
            run(Bytes(video("a.mp4")))


def test_a_thread_that_cannot_be_started_leaves_no_child(
    monkeypatch: pytest.MonkeyPatch, started: list[int]
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        client.Decoder(Limits())
    assert len(started) == 1
