"""What a folder alone has to show."""

from __future__ import annotations

import os
import threading
import time

import pytest

from lib.errors import KeyRefused, ObjectChanged
from lib.storage.folder import TEMPORARY, FolderStorage
from tests.cos_server import LeapingClock

BUCKET = "media-1250000000"


def put(storage, key, data=b"data", content_type="image/jpeg", cache_control="no-cache"):
    storage.put(key, data, content_type=content_type, cache_control=cache_control)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "bucket", lambda: FolderStorage(
        tmp_path / "bucket", BUCKET, base_url="http://127.0.0.1/media", clock=LeapingClock()
    )


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    root, make = folder
    storage = make()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.mp4").write_bytes(b"secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "file.mp4").symlink_to(tmp_path / "secret" / "a.mp4")
    for key in ("out/a.mp4", "file.mp4"):
        with pytest.raises(KeyRefused, match="leads out of the folder"):
            storage.get(key)
    for act in (lambda: put(storage, "out/new"), lambda: storage.delete("out/a.mp4")):
        with pytest.raises(KeyRefused, match="leads out of the folder"):
            act()
    assert list(storage.list("")) == []
    # AND writing to a linked name replaces the link, not what it points to
    put(storage, "file.mp4", b"ours")
    assert storage.get("file.mp4") == b"ours"
    assert (tmp_path / "secret" / "a.mp4").read_bytes() == b"secret"
    assert os.listdir(tmp_path / "secret") == ["a.mp4"]


def test_a_link_inside_the_folder_is_followed(folder):
    root, make = folder
    storage = make()
    put(storage, "real/a.mp4", b"x")
    (root / "linked.mp4").symlink_to(root / "real" / "a.mp4")
    assert storage.get("linked.mp4") == b"x"


def test_unfinished_writes_are_hidden_and_old_ones_removed_at_the_start(folder):
    root, make = folder
    put(make(), "a", b"x")
    leftovers = root / TEMPORARY
    (leftovers / "new").write_bytes(b"half")
    (leftovers / "old").write_bytes(b"half")
    os.utime(leftovers / "old", (time.time() - 7200, time.time() - 7200))
    storage = make()
    assert [path.name for path in leftovers.iterdir()] == ["new"]
    assert [found.key for found in storage.list("")] == ["a"]
    for key in (f"{TEMPORARY}/new", TEMPORARY, f"{TEMPORARY.upper()}/x"):
        with pytest.raises(KeyRefused, match="unfinished"):
            storage.get(key)
        with pytest.raises(KeyRefused, match="unfinished"):
            put(storage, key)


@pytest.mark.parametrize("key", ["a/b", "a/b/c", "dir"])
def test_an_object_is_not_a_folder_too(folder, key):
    _, make = folder
    storage = make()
    put(storage, "a", b"x")
    put(storage, "dir/x", b"x")
    with pytest.raises(KeyRefused, match="same name"):
        put(storage, key)
    assert [found.key for found in storage.list("")] == ["a", "dir/x"]


def test_deleting_takes_empty_folders_along(folder):
    root, make = folder
    storage = make()
    put(storage, "a/b/c/1")
    put(storage, "a/2")
    storage.delete("a/b/c/1")
    assert not (root / "a" / "b").exists()
    storage.delete("a/2")
    assert root.exists()
    assert not (root / "a").exists()


def test_writers_and_deleters_of_one_folder_do_not_fail_each_other(folder, share):
    _, make = folder
    storage = make()
    errors = []

    def work(name):
        try:
            for _ in range(share(2000, 150)):
                put(storage, f"deep/er/{name}")
                storage.delete(f"deep/er/{name}")
        except Exception as error:  # noqa: BLE001 (shown by the assertion below)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(storage.list("")) == []


def test_an_object_written_in_place_while_it_is_read_is_changed(folder):
    root, make = folder
    storage = make()
    put(storage, "a.mp4", b"x" * 1000)
    etag = storage.head("a.mp4").etag
    with open(root / "a.mp4", "ab") as file:
        file.write(b"y")
    with pytest.raises(ObjectChanged):
        storage.read("a.mp4", [(0, 1)], etag=etag)
    assert storage.head("a.mp4").etag != etag


def test_each_of_many_quick_overwrites_has_an_etag_of_its_own(folder):
    _, make = folder
    storage = make()
    etags = set()
    for _ in range(300):
        put(storage, "a.mp4", b"same size")
        etags.add(storage.head("a.mp4").etag)
    assert len(etags) == 300
