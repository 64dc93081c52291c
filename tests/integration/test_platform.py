"""The platform on one machine, as `make demo` and `make serve` start it: real processes, real HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import urllib3

from lib.app import build
from lib.errors import ConfigurationError
from lib.local.platform import Platform
from lib.local.receiver import Receiver
from lib.signing.webhooks import Keyring
from lib.sprites import Manifest
from tests.conftest import MEDIA
from tests.systems import SECRET
from tests.videos import make_barcoded

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def until(look, what):
    give_up = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < give_up, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


@pytest.fixture
def receiver():
    with Receiver(Keyring([SECRET])) as receiver:
        yield receiver


@pytest.fixture
def start(tmp_path, receiver):
    def start(**changes):
        environment = {
            "BUCKET_DIR": str(tmp_path / "bucket"),
            "DATABASE_URL": f"sqlite:///{tmp_path / 'filmstrip.db'}",
            "CALLBACK_URL": receiver.url,
            "CALLBACK_KEYS": SECRET,
            "CALLBACK_ALLOW": receiver.address,
            **changes,
        }
        return Platform(environment, timer_seconds=0.3, retry_seconds=0.3, output=output)

    with (tmp_path / "log").open("w+") as output:
        yield start


def drop(platform, source, key):
    target = platform.settings.BUCKET_DIR / key
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def test_files_dropped_into_the_folder_become_sprites_served_over_http(start, receiver):
    with start() as platform:
        drop(platform, MEDIA / "bikes.mp4", "videos/bikes.mp4")
        drop(platform, MEDIA / "carphone.mp4", "videos/deep/er/CARPHONE.MP4")
        drop(platform, MEDIA / "README.md", "videos/README.md")
        got = [receiver.events.get(timeout=PATIENCE).event["data"] for _ in range(2)]

        with urllib3.PoolManager() as pool:
            for data in got:
                vtt = pool.request("GET", data["webVttUrl"])
                assert vtt.headers["Content-Type"] == "text/vtt; charset=utf-8"
                assert vtt.headers["Access-Control-Allow-Origin"] == "*"
                assert vtt.data.startswith(b"WEBVTT\n\n")
                sheet = pool.request("GET", data["imageSpriteUrl"][0])
                assert sheet.headers["Content-Type"] == "image/jpeg"
                assert "immutable" in sheet.headers["Cache-Control"]
        tasks = build(platform.settings).tasks.newest()
        assert sorted(task.key for task in tasks) == ["videos/bikes.mp4", "videos/deep/er/CARPHONE.MP4"]


def test_an_attempt_killed_while_capturing_is_finished_by_the_timer(start, receiver, tmp_path):
    # GIVEN a capture that takes a while: every second exact, one key frame in all
    video = make_barcoded(tmp_path / "long.mp4", seconds=90, fps=10, gop=900)
    definitions = tmp_path / "mine.toml"
    definitions.write_text('[20]\ninterval = 0.2\naccuracy = "exact"\n')
    with start(DEFINITIONS="20", DEFINITIONS_FILE=str(definitions), LEASE_SECONDS="1") as platform:
        app = build(platform.settings)
        drop(platform, video, "videos/long.mp4")

        # WHEN the instance that captures is killed
        until(lambda: [task for task in app.tasks.newest() if task.state == "running"], "the attempt")
        for pid in platform.pids("on_task"):
            os.kill(pid, signal.SIGKILL)

        # THEN the next attempt finishes the job, once
        received = receiver.events.get(timeout=PATIENCE)
        [task] = app.tasks.newest()
        assert (task.outcome, task.attempt) == ("complete", 2)
        assert received.event["data"]["vodTaskId"] == task.id
        assert len(app.deliveries.newest()) == 1
        folder = platform.settings.BUCKET_DIR / "sprites/videos/long.mp4/20"
        manifest = Manifest.from_json((folder / "manifest.json").read_text())
        names = {sheet.name for sheet in manifest.sheets}
        immutable = {f"sprite_{task.etag[:12]}.json"}
        assert {path.name for path in folder.iterdir()} == names | immutable | {
            "manifest.json",
            "thumbnails.vtt",
        }
    assert receiver.events.empty()


def test_a_restart_fires_for_what_is_there_and_changes_nothing(start, receiver):
    with start() as platform:
        drop(platform, MEDIA / "bikes.mp4", "videos/bikes.mp4")
        receiver.events.get(timeout=PATIENCE)
    with start() as platform:
        app = build(platform.settings)
        drop(platform, MEDIA / "carphone.mp4", "videos/carphone.mp4")
        assert receiver.events.get(timeout=PATIENCE).event["data"]["status"] == 0
        assert [task.attempt for task in app.tasks.newest()] == [1, 1]
    assert receiver.events.empty()


def test_objects_are_served_by_ranges(start):
    with start() as platform:
        drop(platform, MEDIA / "bikes.mp4", "videos/ü %41.mp4")
        whole = (MEDIA / "bikes.mp4").read_bytes()
        url = f"{platform.url}/bucket/videos/%C3%BC%20%2541.mp4"
        with urllib3.PoolManager() as pool:
            answer = pool.request("GET", url, headers={"Range": "bytes=100-199"})
            assert (answer.status, answer.data) == (206, whole[100:200])
            assert answer.headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
            assert pool.request("GET", url, headers={"Range": "bytes=-5"}).data == whole[-5:]
            assert pool.request("GET", url, headers={"Range": f"bytes={len(whole)}-"}).status == 416
            full = pool.request("GET", url)
            assert (full.status, full.data) == (200, whole)
            etag = full.headers["ETag"]
            assert pool.request("GET", url, headers={"If-None-Match": etag}).status == 304
            head = pool.request("HEAD", url)
            assert (head.status, head.headers["Content-Length"]) == (200, str(len(whole)))
            assert pool.request("PUT", url, body=b"x").status == 405
            assert pool.request("OPTIONS", url).headers["Access-Control-Allow-Methods"] == "GET, HEAD"
            for path in ("none", "..%2f..%2fetc/passwd", "%00", ""):
                assert pool.request("GET", f"{platform.url}/bucket/{path}").status == 404
            assert pool.request("GET", platform.url).status == 200
            assert pool.request("GET", f"{platform.url}/none").status == 404
            # functions are invoked with JSON only, which no foreign page can send unasked
            assert pool.request("POST", f"{platform.url}/invoke/on_timer", body=b"{}").status == 405
            assert pool.request("POST", f"{platform.url}/invoke/none", json={}).status == 404


def test_a_taken_port_is_named(start):
    with start() as platform, pytest.raises(ConfigurationError, match="^--port: 127.0.0.1:"):
        Platform(platform.environment, port=int(platform.url.rpartition(":")[2]))


def run(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "lib", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        text=True,
        capture_output=True,
    )


def test_the_demo_shows_every_step_and_ends_well(tmp_path):
    done = run("demo", MEDIA / "sintel-captions.ts", cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("platform", "upload", "trigger", "start", "capture", "event", "CreateImageSpriteComplete"):
        assert step in done.stdout
    assert (tmp_path / "var/demo/bucket/sprites/videos/sintel-captions.ts/10/thumbnails.vtt").is_file()


def test_the_demo_fails_where_there_is_no_sprite(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    done = run("demo", "text.mp4", cwd=tmp_path)
    assert done.returncode == 1
    assert "unsupported" in done.stdout

    missing = run("demo", "none.mp4", cwd=tmp_path)
    assert missing.returncode == 2
    assert "none.mp4 is not a file" in missing.stderr


def test_serve_runs_until_it_is_told_to_stop_and_the_record_can_be_read(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    served = subprocess.Popen(
        [sys.executable, "-m", "lib", "serve", "--port", "0"],
        cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(served.stdout))
    reading.start()
    try:
        until(lambda: (tmp_path / "var/bucket/videos").is_dir(), "the folder")
        shutil.copyfile(MEDIA / "bikes.mp4", tmp_path / "var/bucket/videos/bikes.mp4")
        until((tmp_path / "var/bucket/sprites/videos/bikes.mp4/10/manifest.json").is_file, "the manifest")
        until(lambda: any("task.complete" in line for line in list(lines)), "the log line")
    finally:
        served.send_signal(signal.SIGTERM)
        assert served.wait(30) == 0
        reading.join()
        served.stdout.close()

    tasks = run("tasks", cwd=tmp_path)
    assert "finished" in tasks.stdout
    assert "videos/bikes.mp4" in tasks.stdout
    task_id = next(word for word in tasks.stdout.split() if word.startswith("CreateImageSprite-"))
    assert "complete" in run("tasks", task_id, cwd=tmp_path).stdout
    assert "pull only" in run("events", cwd=tmp_path).stdout
    again = run("retry", task_id, cwd=tmp_path)
    assert f"{task_id} is waiting" in again.stdout
    assert run("tasks", "none", cwd=tmp_path).returncode == 2
