"""The whole system on one video, on this machine: upload, trigger, task, capture, publication, notification."""

from __future__ import annotations

import json
import queue
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from lib.app import build
from lib.errors import FilmstripError, Invalid
from lib.local.platform import Platform
from lib.local.receiver import Received, Receiver
from lib.ports import Task
from lib.signing.webhooks import Keyring
from lib.sprites import Manifest

HOME = Path("var/demo")
PATIENCE = 900.0
"""Seconds the event may take: the longest a function may run."""


class StepFailed(FilmstripError):
    """{reason}"""


def main(video: Path | None) -> int:
    """Exit code 0 only if every step happened. Raises Invalid, ConfigurationError."""
    try:
        return run(video)
    except StepFailed as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1


def run(video: Path | None) -> int:
    if video is not None and not video.is_file():
        raise Invalid(field="VIDEO", problem=f"{video} is not a file")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    say("Filmstrip: the whole system on this machine, on one video\n")
    if video is None:
        video = _make_video()
    secret = "whsec_" + secrets.token_urlsafe(24).translate(str.maketrans("-_", "AB"))
    with Receiver(Keyring([secret])) as receiver, (HOME / "log.jsonl").open("w") as output:
        environment = {
            "STORAGE": "folder",
            "BUCKET_DIR": str(HOME / "bucket"),
            "DATABASE_URL": f"sqlite:///{HOME / 'filmstrip.db'}",
            "CALLBACK_URL": receiver.url,
            "CALLBACK_KEYS": secret,
            "CALLBACK_ALLOW": receiver.address,
        }
        with step("platform", "bucket, triggers, timer, functions and HTTP"):
            platform = Platform(environment, output=output)
        with platform:
            return _follow(platform, receiver, video)


def _make_video() -> Path:
    from lib.local import demo_video

    path = HOME / "demo.mp4"
    with step("video", f"made one: {path}"):
        demo_video.make(path)
    return path


def _follow(platform: Platform, receiver: Receiver, video: Path) -> int:
    uploaded = time.time()
    key = f"{platform.settings.WATCH_PREFIX}{video.name}"
    with step("upload", f"{_megabytes(video.stat().st_size)} to {key} in the bucket"):
        _upload(platform, video, key)
    app = build(platform.settings)
    received = _wait(receiver)
    tasks = app.tasks.newest()
    if received is None or not tasks:
        return _failed(tasks)
    task = tasks[0]
    started, finished = task.started_at or 0.0, task.finished_at or 0.0
    tell("trigger", task.created_at - uploaded, f"the COS event fired on_upload, which opened {task.id}")
    tell("start", started - task.created_at, "on_upload invoked on_task")
    data = received.event["data"]
    if data["status"] != 0:
        tell("capture", finished - started, f"ended as {task.outcome}: {data['message']}")
    else:
        manifest = _fetch(data)
        attempts = app.tasks.attempts(task.id)
        tell("capture", finished - started, _captured(manifest, attempts[-1]["bytes_read"]))
    tell("event", received.at - finished, f"{received.event['eventType']} delivered as {received.id}")
    say("\n" + json.dumps(received.event, indent=2, ensure_ascii=False) + "\n")
    if data["status"] != 0:
        say(f"The event tells of a failure: {task.outcome}. Nothing was published.")
        return 1
    folder = HOME / "bucket" / (task.result or {})["folder"]
    say(f"Sheets, {manifest.documents['vtt']} and manifest.json are in {folder}")
    say(f"The record is in {HOME / 'filmstrip.db'}, the functions' log in {HOME / 'log.jsonl'}.")
    say(f"Upload to event: {received.at - uploaded:.2f} s")
    return 0


def _upload(platform: Platform, video: Path, key: str) -> None:
    """Copied beside the bucket and renamed into it: a trigger never sees half a video."""
    copy = HOME / "upload"
    shutil.copyfile(video, copy)
    target = platform.settings.BUCKET_DIR / key
    target.parent.mkdir(parents=True, exist_ok=True)
    copy.replace(target)


def _wait(receiver: Receiver) -> Received | None:
    try:
        return receiver.events.get(timeout=PATIENCE)
    except queue.Empty:
        return None


def _failed(tasks: list[Task]) -> int:
    say(f"No event arrived within {PATIENCE:.0f} s.")
    for task in tasks:
        say(f"  {task.id} is {task.state}, attempt {task.attempt}: {task.reason or 'no reason known'}")
    say(f"What the functions said: {HOME / 'log.jsonl'}")
    return 1


def _fetch(data: dict[str, Any]) -> Manifest:
    """Everything the event names, as a player would get it. Raises FilmstripError."""
    with urllib3.PoolManager(retries=False, timeout=10.0) as pool:

        def get(url: str) -> bytes:
            answer = pool.request("GET", url)
            if answer.status != 200:
                raise StepFailed(reason=f"{url} answered {answer.status}")
            return answer.data

        vtt = get(data["webVttUrl"]).decode()
        base = data["webVttUrl"].rpartition("/")[0]
        manifest = Manifest.from_json(get(f"{base}/manifest.json").decode())
        for url in data["imageSpriteUrl"]:
            get(url)
    if vtt.count(" --> ") != data["totalCount"] or len(manifest.tiles) != data["totalCount"]:
        raise StepFailed(reason="totalCount is not the number of cues and tiles that were published")
    return manifest


def _captured(manifest: Manifest, bytes_read: int) -> str:
    source = manifest.source
    share = bytes_read / source.size if source.size else 0
    partial = "" if manifest.outcome == "complete" else f" ({manifest.outcome}: {manifest.coverage:.0%})"
    return (
        f"{len(manifest.tiles)} tiles on {len(manifest.sheets)} sheet(s){partial} from {source.duration:.1f} s of "
        f"{source.codec} {source.width}x{source.height}; read {_megabytes(bytes_read)} ({share:.0%})"
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB"


@contextmanager
def step(name: str, text: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    tell(name, time.monotonic() - began, text)


def tell(name: str, seconds: float, text: str) -> None:
    say(f"  {name:<9}{max(seconds, 0):6.2f} s  {text}")


def say(text: str) -> None:
    print(text, flush=True)
