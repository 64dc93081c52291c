"""What every reader of the engine does: files, objects of both storages, URLs."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib.errors import ObjectChanged, ObjectNotFound
from lib.storage.cos import CosStorage
from lib.storage.folder import FolderStorage
from lib.storage.http import HttpSource
from lib.storage.readers import FileReader, ObjectReader
from tests.cos_server import CosServer, LeapingClock

DATA = os.urandom(30_000)


@pytest.fixture(params=["file", "folder", "cos", "http"])
def opened(request, tmp_path):
    """A reader of DATA, and what puts other bytes in its place."""
    clock = LeapingClock()
    with CosServer(now=clock.now) as server:
        if request.param in ("cos", "http"):
            storage = CosStorage(
                server.bucket,
                server.region,
                lambda: server.credentials,
                endpoint=server.endpoint,
                clock=clock,
            )
        else:
            storage = FolderStorage(tmp_path, "b-1", base_url="http://127.0.0.1/", clock=clock)

        def replace(data):
            storage.put("in/a.mp4", data, content_type="video/mp4", cache_control="")

        def write_in_place(data):
            (tmp_path / "in" / "a.mp4").write_bytes(data)

        replace(DATA)
        if request.param == "file":
            with FileReader(tmp_path / "in" / "a.mp4") as reader:
                yield reader, write_in_place
        elif request.param == "http":
            yield HttpSource(storage.presign("in/a.mp4", seconds=600), clock=clock), replace
        else:
            found = storage.head("in/a.mp4")
            yield ObjectReader(storage, found.key, etag=found.etag, size=found.size), replace


def test_ranges_are_slices(opened, share):
    reader, _ = opened
    edge = st.integers(0, len(DATA) + 100)

    @settings(max_examples=share(500, 40), deadline=None)
    @given(st.lists(st.tuples(edge, edge).map(lambda pair: (min(pair), max(pair))), max_size=12))
    @example([(0, len(DATA))] * 12)
    @example([])
    def check(ranges):
        assert reader.read(ranges) == [DATA[start:end] for start, end in ranges]

    assert reader.size == len(DATA)
    check()


@pytest.mark.parametrize("data", [DATA[::-1], DATA[:100], b""])
def test_bytes_of_another_version_are_never_given(opened, data):
    reader, replace = opened
    replace(data)
    with pytest.raises(ObjectChanged):
        reader.read([(0, 10), (10, 20)])


def test_a_file_that_was_replaced_is_still_the_one_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").write_bytes(b"new")
    with FileReader(tmp_path / "a") as reader:
        os.replace(tmp_path / "b", tmp_path / "a")
        assert reader.read([(0, 3)]) == [b"old"]


def test_what_is_not_a_file_is_not_found(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (
        tmp_path,
        tmp_path / "pipe",
        tmp_path / "none",
        tmp_path / "none" / "x",
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(ObjectNotFound):
            FileReader(path)
