"""What every Storage does, folder and COS alike."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lib.errors import KeyRefused, ObjectChanged, ObjectNotFound
from lib.ports import Storage
from lib.storage.cos import CosStorage
from lib.storage.folder import TEMPORARY, FolderStorage
from tests.cos_server import CosServer, LeapingClock

BUCKET = "media-1250000000"


@dataclass
class Bench:
    """A storage, and what it holds seen from behind it."""

    storage: Storage
    keys: Callable[[], list[str]]
    empty: Callable[[], None]


def files_below(root: Path) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if not path.is_dir() and root / TEMPORARY not in path.parents
    )


@contextmanager
def folder_bench(tmp_path):
    outside, root = tmp_path / "outside.txt", tmp_path / "bucket"
    outside.write_bytes(b"outside")

    def keys():
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bucket", "outside.txt"]
        assert outside.read_bytes() == b"outside"
        return files_below(root)

    def empty():
        for key in files_below(root):
            storage.delete(key)

    handler = functools.partial(QuietFiles, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        base_url = f"http://127.0.0.1:{server.server_address[1]}/"
        storage = FolderStorage(root, BUCKET, base_url=base_url, clock=LeapingClock())
        yield Bench(storage, keys, empty)
        server.shutdown()
        thread.join()


@contextmanager
def cos_bench(tmp_path):
    clock = LeapingClock()
    with CosServer(BUCKET, now=clock.now) as server:
        storage = CosStorage(
            BUCKET, server.region, lambda: server.credentials, endpoint=server.endpoint, clock=clock
        )
        yield Bench(storage, lambda: sorted(server.objects), server.objects.clear)


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(params=[folder_bench, cos_bench], ids=["folder", "cos"])
def bench(request, tmp_path):
    with request.param(tmp_path) as bench:
        yield bench


@pytest.fixture
def storage(bench):
    return bench.storage


def put(storage, key, data=b"data", content_type="image/jpeg", cache_control="no-cache"):
    storage.put(key, data, content_type=content_type, cache_control=cache_control)


hostile_segments = st.one_of(
    st.sampled_from(["a", "b.mp4", ".", "..", "...", "%2e%2e", "%2E", "%2f", "~", "~root", "-rf", "C:", ""]),
    st.sampled_from(["a\\..\\b", "\\", "+", " ", "a b", "視頻", "😀", "e\u0301", "\u202egpj", "concat:x"]),
    st.sampled_from(
        ["http:", "*", "?q=1", "#f", "&", "%", "%zz", "x" * 255, "x" * 256, "é" * 200, TEMPORARY]
    ),
    st.sampled_from(["con\n", "nul\0", "\x7f", "\ud800", "\ufeff", "'\"`$("]),
)
keys = st.one_of(
    st.lists(hostile_segments, min_size=1, max_size=6).map("/".join),
    st.text(max_size=40),
    st.text(alphabet="./\\%2eE+~ ab", max_size=12),
)


def test_any_key_holds_its_bytes_or_is_refused(bench, share):
    @settings(max_examples=share(5000, 250), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(key=keys, data=st.binary(max_size=20))
    @example(key="../outside.txt", data=b"x")
    @example(key="/etc/passwd", data=b"x")
    @example(key="a/../b%2e%2e/+ 😀?x=1#y", data=b"x")
    @example(key="a/%2e%2e/%2e/+ 😀?x=1#y&z=%zz~!*'()", data=b"x")
    @example(key="é" * 425, data=b"x")
    @example(key=("é" * 100 + "/") * 4 + "b" * 46, data=b"x")
    @example(key="é" * 425 + "x", data=b"x")
    def check(key, data):
        bench.empty()
        try:
            put(bench.storage, key, data)
        except KeyRefused:
            # THEN nothing is stored, and nothing can be read there
            assert bench.keys() == []
            with pytest.raises((KeyRefused, ObjectNotFound)):
                bench.storage.get(key)
            return
        assert bench.keys() == [key]
        assert bench.storage.get(key) == data
        assert bench.storage.head(key).key == key
        assert [(found.key, found.size) for found in bench.storage.list("")] == [(key, len(data))]
        bench.storage.delete(key)
        assert bench.keys() == []

    check()


@pytest.mark.parametrize(
    "key",
    ["", "/a", "\\a", "..", "../a", "a/..", "a/./b", "a\0", "a\nb", "a\x7f", "\ud800", "x" * 851, "é" * 426],
)
def test_a_key_that_means_another_or_does_not_fit_is_refused(storage, key):
    actions = [
        lambda: put(storage, key),
        lambda: storage.get(key),
        lambda: storage.head(key),
        lambda: storage.read(key, [(0, 1)]),
        lambda: storage.delete(key),
        lambda: storage.presign(key, seconds=60),
    ]
    for act in actions:
        with pytest.raises(KeyRefused):
            act()


def test_plain_keys_are_never_refused(bench):
    wanted = ["a.mp4", "in/视频 (1)+%.mp4", "in/%2e%2e/x", "in/..a", "-", "a\\b", "in/😀/" + "x" * 200]
    for key in wanted:
        put(bench.storage, key, key.encode())
    assert {key: bench.storage.get(key) for key in wanted} == {key: key.encode() for key in wanted}
    assert bench.keys() == sorted(wanted)


def test_head_tells_size_etag_and_time(storage):
    before = int(time.time())
    put(storage, "in/a.mp4", b"12345")
    found = storage.head("in/a.mp4")
    assert (found.key, found.size) == ("in/a.mp4", 5)
    assert found.etag
    assert '"' not in found.etag
    assert before <= found.modified <= time.time() + 1
    assert list(storage.list("in/")) == [found]


@pytest.mark.parametrize("key", ["in/none.mp4", "in", "in/a.mp4/below", "in/" + "x" * 300])
def test_what_is_not_there_is_not_found(storage, key):
    put(storage, "in/a.mp4")
    for act in (storage.get, storage.head, lambda key: storage.read(key, [(0, 1)], etag="x")):
        with pytest.raises(ObjectNotFound, match="in bucket media-1250000000"):
            act(key)


def test_deleting_twice_is_fine_and_leaves_the_others(bench):
    put(bench.storage, "in/deep/er/a.mp4")
    put(bench.storage, "in/b.mp4")
    for _ in range(2):
        bench.storage.delete("in/deep/er/a.mp4")
    bench.storage.delete("in")
    assert bench.keys() == ["in/b.mp4"]


def test_an_overwrite_changes_the_etag_and_ends_reads_of_the_old(storage):
    etags = []
    for version in (b"v1", b"v2", b"v3"):
        put(storage, "a.mp4", version)
        etags.append(storage.head("a.mp4").etag)
        assert storage.read("a.mp4", [(0, 2)], etag=etags[-1]) == [version]
        for old in etags[:-1]:
            with pytest.raises(ObjectChanged, match=old):
                storage.read("a.mp4", [(0, 1), (1, 2)], etag=old)
    assert len(set(etags)) == 3


def test_ranges_are_slices(storage, share):
    data = bytes(range(256)) * 40
    put(storage, "a.mp4", data)
    etag = storage.head("a.mp4").etag
    edge = st.integers(0, len(data) + 50)

    @settings(max_examples=share(500, 60), deadline=None)
    @given(st.lists(st.tuples(edge, edge).map(lambda pair: (min(pair), max(pair))), max_size=20))
    @example([(0, len(data)), (len(data) - 1, len(data)), (len(data), len(data) + 9), (0, 0)])
    def check(ranges):
        assert storage.read("a.mp4", ranges, etag=etag) == [data[start:end] for start, end in ranges]
        assert storage.read("a.mp4", ranges) == [data[start:end] for start, end in ranges]

    check()


@pytest.mark.parametrize("wrong", [(-1, 1), (2, 1)])
def test_a_range_that_is_none_is_an_error(storage, wrong):
    put(storage, "a.mp4")
    with pytest.raises(ValueError, match="is not a range"):
        storage.read("a.mp4", [(0, 1), wrong])


def test_an_empty_object_reads_as_nothing(storage):
    put(storage, "empty", b"")
    assert (storage.get("empty"), storage.head("empty").size) == (b"", 0)
    assert storage.read("empty", [(0, 10)]) == [b""]


def test_a_reader_never_sees_half_an_object(storage, share):
    # GIVEN versions of different sizes, each wholly of one letter
    versions = [bytes([65 + n]) * (50_000 + 7_000 * n) for n in range(6)]
    put(storage, "a.mp4", versions[0])
    done = threading.Event()
    errors = []

    def write():
        try:
            for n in range(share(400, 40)):
                put(storage, "a.mp4", versions[n % 6])
        except Exception as error:  # noqa: BLE001 (shown by the assertion below)
            errors.append(error)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    # WHEN they are read while being replaced
    seen = set()
    while not done.is_set() or not seen:
        whole = storage.get("a.mp4")
        assert whole in versions
        seen.add(whole[0])
        assert [found.key for found in storage.list("")] == ["a.mp4"]
        found = storage.head("a.mp4")
        try:
            head, tail = storage.read("a.mp4", [(0, 10), (found.size - 10, found.size)], etag=found.etag)
            assert len({*head, *tail}) == 1
            assert len(tail) == 10
        except ObjectChanged:
            continue
    writer.join()
    # THEN each read was of one version
    assert errors == []


def test_the_list_is_sorted_whole_and_of_the_prefix(storage):
    names = ["b", "a/2", "a/10", "a/é", "a/z", "a/😀", "a+", "a", "a.b/c", "B"]
    for name in names:
        if name != "a":
            put(storage, name)
    names.remove("a")
    assert [found.key for found in storage.list("")] == sorted(names)
    assert [found.key for found in storage.list("a/")] == ["a/10", "a/2", "a/z", "a/é", "a/😀"]
    assert [found.key for found in storage.list("a/1")] == ["a/10"]
    assert [found.key for found in storage.list("a")] == ["a+", "a.b/c", "a/10", "a/2", "a/z", "a/é", "a/😀"]
    assert list(storage.list("nothing/here")) == []
    assert list(storage.list("../")) == []


@pytest.mark.parametrize("key", ["out/sprite_1.jpg", "out/видео +%~!😀?x=1#y/thumbnails.vtt"])
def test_a_presigned_url_is_read_by_anyone(storage, key):
    put(storage, key, b"picture")
    url = storage.presign(key, seconds=60)
    with urllib3.PoolManager() as anyone:
        answer = anyone.request("GET", url, retries=False)
        assert (answer.status, answer.data) == (200, b"picture")
