"""The read-only source of the command line when server or network fail."""

from __future__ import annotations

import pytest

from lib.errors import Invalid, ObjectChanged, ObjectNotFound, StorageRefused, StorageUnavailable
from lib.storage.cos import CosStorage
from lib.storage.http import HttpSource
from tests.cos_server import CosServer, LeapingClock

DATA = bytes(range(256)) * 64
RANGES = [(0, 1000), (5000, 9000), (16_000, 16_384)]
WANTED = [DATA[start:end] for start, end in RANGES]
KEY = "in/видео.mp4"


@pytest.fixture
def clock():
    return LeapingClock()


@pytest.fixture
def server(clock):
    with CosServer(now=clock.now) as server:
        server.store(KEY, DATA)
        yield server


@pytest.fixture
def storage(server, clock):
    return CosStorage(
        server.bucket, server.region, lambda: server.credentials, endpoint=server.endpoint, clock=clock
    )


@pytest.fixture
def source(storage, clock):
    return HttpSource(storage.presign(KEY, seconds=600), clock=clock)


def without_secrets(error: BaseException) -> str:
    """The message, after looking for secrets in it and in all that led to it."""
    shown, seen = "", error
    while seen:
        shown += f"{seen} {seen!r} {seen.args!r}"
        seen = seen.__cause__ or seen.__context__
    assert "canary" not in shown
    assert "q-signature" not in shown
    return str(error)


TRANSIENT = [{"status": 500}, {"status": 429, "headers": {"Retry-After": "2"}}, {"drop": True}]


@pytest.mark.parametrize("fault", TRANSIENT, ids=str)
def test_a_source_waits_for_what_passes(server, storage, clock, fault):
    url = storage.presign(KEY, seconds=600)
    server.fail_next(2, **fault)
    source = HttpSource(url, clock=clock)
    server.fail_next(2, **fault)
    server.fail_next(2, cut=0.5)
    server.fail_next(1, length=7)
    server.fail_next(1, shift_range=3)
    assert (source.size, source.read(RANGES)) == (len(DATA), WANTED)
    server.fail_next(1000, **fault)
    with pytest.raises(StorageUnavailable) as caught:
        source.read(RANGES)
    without_secrets(caught.value)


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ({"ignore_range": True}, StorageRefused, "ignores ranges; download the file first"),
        ({"status": 403}, StorageRefused, "status 403"),
        ({"status": 404}, ObjectNotFound, "no object"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, StorageRefused, "not an http"),
        ({"status": 302, "headers": {"Location": "http://[canary"}}, StorageRefused, "not an http"),
        ({"status": 302, "headers": {"Location": "?canary=1"}}, StorageRefused, "more than 5 times"),
        ({"headers": {"Content-Encoding": "gzip"}}, StorageRefused, "compressed"),
    ],
)
def test_a_source_that_cannot_be_read_says_why(server, storage, clock, fault, kind, reason):
    server.fail_next(1000, **fault)
    url = storage.presign(KEY, seconds=60).replace("//", "//user:canarypassword@")
    with pytest.raises(kind, match=reason) as caught:
        HttpSource(url, clock=clock)
    message = without_secrets(caught.value)
    assert "127.0.0.1" in message
    assert "user" not in message
    assert "?" not in message


@pytest.mark.parametrize(
    "url", ["", "a.mp4", "file:///a", "ftp://h/a", "http://", "http://:80/", "http://[x/"]
)
def test_a_source_needs_a_web_address(clock, url):
    with pytest.raises(Invalid, match=r"^url: is not an http"):
        HttpSource(url, clock=clock)


@pytest.mark.parametrize("etag", ['"strong"', 'W/"weak"', None])
def test_a_source_that_changes_is_changed(server, storage, clock, etag):
    server.fail_next(1, headers={"ETag": etag})
    source = HttpSource(storage.presign(KEY, seconds=600), clock=clock)
    assert source.etag == ("strong" if etag == '"strong"' else None)
    server.fail_next(1000, headers={"ETag": etag})
    server.store(KEY, DATA + b"more")
    with pytest.raises(ObjectChanged):
        source.read(RANGES)


def test_a_source_asks_for_the_version_it_saw_first(server, source):
    assert source.read(RANGES) == WANTED
    assert {asked.headers.get("if-match") for asked in server.requests[1:]} == {f'"{source.etag}"'}
    server.store(KEY, DATA[::-1])
    with pytest.raises(ObjectChanged):
        source.read(RANGES)


def test_a_source_follows_redirects_once_and_comes_back_when_they_end(server, storage, clock):
    # GIVEN an address that sends to another host, with a login that is for the first only
    with CosServer(now=clock.now) as front:
        front.fail_next(1, status=302, headers={"Location": storage.presign(KEY, seconds=100)})
        source = HttpSource(f"{front.endpoint.replace('//', '//user:p%40ss@')}/a.mp4", clock=clock)
        # WHEN it is read
        assert source.read(RANGES) == WANTED
        # THEN the first host was asked once, and the login stayed there
        assert [asked.headers.get("authorization") for asked in front.requests] == ["Basic dXNlcjpwQHNz"]
        assert {asked.headers.get("authorization") for asked in server.requests} == {None}
        # AND when the address it was sent to has expired, the first gives another
        clock.sleep(200)
        front.fail_next(1000, status=307, headers={"Location": storage.presign(KEY, seconds=100)})
        assert source.read(RANGES) == WANTED


def test_a_source_reads_as_far_as_the_file_goes(server, storage, clock, source):
    assert source.read([(len(DATA) - 1, len(DATA) + 9), (len(DATA), len(DATA) + 1), (3, 3)]) == [
        DATA[-1:],
        b"",
        b"",
    ]
    server.store("empty", b"")
    empty = HttpSource(storage.presign("empty", seconds=60), clock=clock)
    assert (empty.size, empty.read([(0, 10)])) == (0, [b""])
    server.fail_next(1, ignore_range=True)
    assert HttpSource(storage.presign("empty", seconds=60), clock=clock).size == 0


def test_nobody_listening_is_unavailable(clock):
    with CosServer() as gone:
        endpoint = gone.endpoint
    with pytest.raises(StorageUnavailable, match="Connection refused") as caught:
        HttpSource(f"{endpoint.replace('//', '//u:canary@')}/a?q-signature=canary", clock=clock)
    without_secrets(caught.value)
