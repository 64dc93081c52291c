"""`python -m lib sprite`, on files and over HTTP."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from waitress.server import create_server

from lib.storage.folder import FolderStorage
from lib.system import SystemClock
from lib.web.bucket import BucketApp
from tests.conftest import MEDIA

ROOT = Path(__file__).parents[2]


def sprite(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "lib", "sprite", *map(str, arguments)],
        cwd=ROOT, text=True, capture_output=True, check=False, **options,
    )  # fmt: skip


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_a_file_becomes_a_flat_folder(tmp_path):
    done = sprite(
        MEDIA / "bikes.mp4",
        "--out",
        tmp_path / "new" / "out",
        "--interval",
        "1",
        "--columns",
        "4",
        "--rows",
        "2",
    )

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "new/out").iterdir()) == [
        "manifest.json", "sprite_0.jpg", "sprite_1.jpg", "thumbnails.vtt",
    ]  # fmt: skip
    assert size_of(tmp_path / "new/out/sprite_0.jpg") == (568, 160)
    assert size_of(tmp_path / "new/out/sprite_1.jpg") == (568, 80)
    manifest = json.loads((tmp_path / "new/out/manifest.json").read_text())
    assert [tile["instant"] for tile in manifest["tiles"]] == [float(second) for second in range(11)]
    assert "11 tiles on 2 sheet(s)" in done.stdout
    assert done.stderr.splitlines()[-1] == "11/11 tiles"


@pytest.mark.parametrize(
    ("options", "size", "suffix"),
    [
        (["--width", "160", "--height", "0", "--format", "png"], (160 * 10, 68), "png"),
        (["--percent", "50", "--format", "webp", "--fill", "gauss"], (142 * 10, 80), "webp"),
        (["--fill", "white", "--accuracy", "exact"], (142 * 10, 80), "jpg"),
    ],
)
def test_options_change_the_definition(tmp_path, options, size, suffix):
    done = sprite(MEDIA / "bikes.mp4", "--out", tmp_path, *options)

    assert done.returncode == 0, done.stderr
    assert size_of(tmp_path / f"sprite_0.{suffix}") == size


@pytest.fixture
def served(tmp_path):
    """A range server over the media, and one that knows no ranges."""
    ranges = create_server(
        BucketApp(FolderStorage(MEDIA, "media-1", base_url="", clock=SystemClock()), output_prefix="sprites/"),
        host="127.0.0.1", port=0,
    )  # fmt: skip
    threading.Thread(target=ranges.run, daemon=True).start()

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(MEDIA))

        def log_message(self, *_arguments):
            pass

    plain = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=plain.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{ranges.effective_port}", f"http://127.0.0.1:{plain.server_port}"
    ranges.close()
    plain.shutdown()
    plain.server_close()


def test_an_address_with_ranges_is_as_good_as_a_file(tmp_path, served):
    assert sprite(MEDIA / "bikes.mp4", "--out", tmp_path / "file").returncode == 0
    over_http = sprite(f"{served[0]}/bikes.mp4?signature=canary", "--out", tmp_path / "http")

    assert over_http.returncode == 0, over_http.stderr
    for name in ("sprite_0.jpg", "thumbnails.vtt"):
        assert (tmp_path / "file" / name).read_bytes() == (tmp_path / "http" / name).read_bytes()
    assert "canary" not in (tmp_path / "http/manifest.json").read_text()
    read = json.loads((tmp_path / "http/manifest.json").read_text())["read"]
    assert read["bytes"] < (MEDIA / "bikes.mp4").stat().st_size / 2


def test_bad_input_has_its_exit_code_and_its_reason(tmp_path, served):
    (tmp_path / "text.mp4").write_text("no video at all")
    out = ["--out", tmp_path / "out"]
    for arguments, code, reason in [
        ([MEDIA / "bikes.mp4"], 2, "--out"),
        ([MEDIA / "bikes.mp4", *out, "--rows", "0"], 2, "rows: 0 is not between 1 and 100"),
        ([MEDIA / "bikes.mp4", *out, "--interval", "-1"], 2, "interval: "),
        ([MEDIA / "bikes.mp4", *out, "--interval", "1", "--percent", "1"], 2, "not allowed with"),
        ([MEDIA / "bikes.mp4", *out, "--definition", "11"], 2, "there is no definition 11"),
        ([tmp_path / "text.mp4", *out], 3, "unsupported: "),
        ([tmp_path / "none.mp4", *out], 4, "none.mp4"),
        ([tmp_path, *out], 4, tmp_path.name),
        ([f"{served[0]}/none.mp4", *out], 4, "none.mp4"),
        ([f"{served[1]}/bikes.mp4?signature=canary", *out], 4, "range"),
    ]:
        done = sprite(*arguments)
        assert (done.returncode, reason in done.stderr) == (code, True), (
            arguments,
            done.returncode,
            done.stderr,
        )
        assert "Traceback" not in done.stderr
        assert "canary" not in done.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_a_terminal_gets_a_bar(tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lib", "sprite", MEDIA / "bikes.mp4", "--out", tmp_path, "--interval", "2"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    process.wait(60)
    os.close(theirs)
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    assert f"[{'#' * 40}] 6/6 tiles" in text
