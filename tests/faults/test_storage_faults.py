"""What the HTTP adapters do when the server, the network or the clock fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from lib.errors import (
    FilmstripError,
    ObjectChanged,
    StorageRefused,
    StorageUnavailable,
)
from lib.signing.cos import Credentials
from lib.storage.cos import CosStorage
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


def put(storage):
    storage.put("out/a.jpg", b"picture", content_type="image/jpeg", cache_control="no-cache")
    return storage.get("out/a.jpg")


def without_secrets(error: BaseException) -> str:
    """The message, after looking for secrets in it and in all that led to it."""
    shown, seen = "", error
    while seen:
        shown += f"{seen} {seen!r} {seen.args!r}"
        seen = seen.__cause__ or seen.__context__
    assert "canary" not in shown
    assert "q-signature" not in shown
    return str(error)


ACTIONS = {
    "head": (lambda storage: storage.head(KEY).size, len(DATA)),
    "get": (lambda storage: storage.get(KEY), DATA),
    "read": (lambda storage: storage.read(KEY, RANGES, etag=storage.head(KEY).etag), WANTED),
    "put": (put, b"picture"),
    "delete": (lambda storage: storage.delete("none"), None),
    "list": (lambda storage: [found.key for found in storage.list("in/")], [KEY]),
}
TRANSIENT = {
    "500": {"status": 500},
    "503 SlowDown": {"status": 503, "code": "SlowDown"},
    "429": {"status": 429, "headers": {"Retry-After": "2"}},
    "408": {"status": 408},
    "reset": {"drop": True},
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
@pytest.mark.parametrize(("act", "wanted"), ACTIONS.values(), ids=ACTIONS)
def test_what_passes_is_waited_for(server, storage, clock, act, wanted, fault):
    server.fail_next(3, **fault)
    assert act(storage) == wanted
    assert sum(clock.slept) > 0


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
@pytest.mark.parametrize("act", [act for act, _ in ACTIONS.values()], ids=ACTIONS)
def test_what_does_not_pass_ends_by_name_within_the_deadline(server, storage, clock, act, fault):
    server.fail_next(1000, **fault)
    with pytest.raises(StorageUnavailable) as caught:
        act(storage)
    assert caught.value.retry_helps
    assert sum(clock.slept) < 60
    assert len(server.requests) <= 8 * len(RANGES)
    assert "did not answer" in without_secrets(caught.value)


def test_pauses_grow_and_are_not_all_alike(server, clock):
    jitters = iter([0.0, 1.0, 0.5, 0.25, 0.75, 0.1, 0.9])
    storage = CosStorage(
        server.bucket,
        server.region,
        lambda: server.credentials,
        endpoint=server.endpoint,
        clock=clock,
        jitter=lambda: next(jitters),
    )
    server.fail_next(1000, status=503)
    with pytest.raises(StorageUnavailable, match="8 tries"):
        storage.head(KEY)
    assert clock.slept == pytest.approx([0.2, 0.8, 1.2, 2.0, 4.375, 2.75, 4.75])


def test_the_server_is_not_asked_before_it_wants_to_be(server, storage, clock):
    server.fail_next(status=503, headers={"Retry-After": "7"})
    storage.head(KEY)
    assert clock.slept == [7.0]
    server.fail_next(status=503, headers={"Retry-After": "3600"})
    with pytest.raises(StorageUnavailable, match="503"):
        storage.head(KEY)
    assert clock.slept == [7.0]


@pytest.mark.parametrize("percent", range(0, 100, 10))
@pytest.mark.parametrize("act", ["read", "get", "list"])
def test_a_cut_body_is_fetched_again(server, storage, act, percent):
    action, wanted = ACTIONS[act]
    server.fail_next(2, cut=percent / 100, method="GET")
    assert action(storage) == wanted


@pytest.mark.parametrize("length", [-1, -100, 1, 100])
@pytest.mark.parametrize("act", ["read", "get"])
def test_a_length_that_is_wrong_is_found_out(server, storage, act, length):
    action, wanted = ACTIONS[act]
    server.fail_next(1, length=length, method="GET")
    if act == "read" or length > 0:
        assert action(storage) == wanted
    else:  # nothing else tells how long the whole object is
        assert action(storage) == DATA[:length]


@pytest.mark.parametrize(
    "fault", [{"shift_range": 1}, {"ignore_range": True}, {"headers": {"Content-Range": "bytes 0-9/*"}}]
)
def test_bytes_of_another_range_are_never_taken(server, storage, fault):
    server.fail_next(1, method="GET", **fault)
    assert storage.read(KEY, RANGES) == WANTED
    server.fail_next(1000, method="GET", **fault)
    with pytest.raises(StorageUnavailable, match="reading"):
        storage.read(KEY, RANGES)


@pytest.mark.parametrize("etag", [None, "real"])
def test_parts_of_two_versions_are_never_mixed(server, storage, etag):
    etag = etag and storage.head(KEY).etag
    server.fail_next(1, etag='"0123"', method="GET")
    with pytest.raises(ObjectChanged):
        storage.read(KEY, RANGES, etag=etag)


def test_an_answer_without_etag_is_not_trusted(server, storage):
    server.fail_next(1, headers={"ETag": None})
    assert storage.head(KEY).etag


def test_an_object_replaced_while_it_is_read_is_changed(server, storage):
    etag = storage.head(KEY).etag
    server.fail_next(1, before=lambda: server.store(KEY, DATA[::-1]), method="GET")
    with pytest.raises(ObjectChanged, match=etag):
        storage.read(KEY, RANGES, etag=etag)


@pytest.mark.parametrize("hours", [-30, -1, 1, 30])
@pytest.mark.parametrize(("act", "wanted"), ACTIONS.values(), ids=ACTIONS)
def test_a_wrong_clock_is_set_by_the_servers(server, storage, clock, act, wanted, hours):
    server.skew = hours * 3600
    assert act(storage) == wanted
    # THEN it is learnt once, without waiting
    refused = [asked for asked in server.requests if asked.status == 403]
    assert len(refused) <= len(RANGES)
    assert clock.slept == [0.0] * len(refused)
    storage.head(KEY)
    assert server.requests[-2].status != 403
    # AND presigned URLs are valid on the server's clock
    assert urllib3.request("GET", storage.presign(KEY, seconds=60)).data == DATA


def test_a_token_that_ends_mid_run_is_replaced(server, clock):
    """The keys are read, rotate, and the request signed with the old ones arrives."""
    old, new = server.credentials, Credentials("AKIDnew", "canarynewkey", "canarynewtoken")
    answers = iter([old, new])
    storage = CosStorage(
        server.bucket,
        server.region,
        lambda: next(answers, new),
        endpoint=server.endpoint,
        clock=clock,
    )
    server.credentials = new
    assert storage.get(KEY) == DATA
    assert [asked.status for asked in server.requests] == [403, 200]


REFUSALS = {
    "AccessDenied": ({"status": 403, "code": "AccessDenied"}, "403 AccessDenied"),
    "no bucket": ({"status": 404, "code": "NoSuchBucket"}, "404 NoSuchBucket"),
    "other region": ({"status": 301, "code": "PermanentRedirect"}, "301 PermanentRedirect"),
    "no code": ({"status": 400, "body": b"<html>canary"}, "400 without a code"),
    "arrears": ({"status": 451, "code": "UnavailableForLegalReasons"}, "451 Unavail"),
}


@pytest.mark.parametrize(("fault", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_tells_code_and_request_and_no_secret(server, storage, fault, reason):
    for act in ("get", "read", "put", "delete", "list"):
        server.fail_next(1, method={"put": "PUT", "delete": "DELETE"}.get(act, "GET"), **fault)
        with pytest.raises(StorageRefused, match=reason) as caught:
            ACTIONS[act][0](storage)
        assert "(request cmVxdWVzd" in without_secrets(caught.value)
        assert not caught.value.retry_helps


def test_a_wrong_key_is_refused_at_once(server, clock):
    storage = CosStorage(
        server.bucket,
        server.region,
        lambda: Credentials("AKIDserver", "canarywrong", "canary/token+="),
        endpoint=server.endpoint,
        clock=clock,
    )
    with pytest.raises(StorageRefused, match="403 SignatureDoesNotMatch") as caught:
        storage.get(KEY)
    without_secrets(caught.value)
    assert len(server.requests) == 1


def test_deleting_what_cos_calls_unknown_is_success(server, storage):
    server.fail_next(1, status=404, code="NoSuchKey")
    storage.delete("none")


@pytest.mark.parametrize("code", ["BadDigest", "RequestTimeout", "RequestTimeOut", "IncompleteBody"])
def test_a_body_that_did_not_arrive_well_is_sent_again(server, storage, code):
    server.fail_next(1, status=400, code=code)
    assert put(storage) == b"picture"


LISTS = {
    "entity": b'<!DOCTYPE x [<!ENTITY a "aaa"><!ENTITY b "&a;&a;">]><ListBucketResult><IsTruncated>false'
    b"</IsTruncated><Contents><Key>&b;</Key><Size>1</Size><ETag>e</ETag>"
    b"<LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>",
    "file": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><ListBucketResult>&a;</ListBucketResult>',
    "utf-16": '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x []><ListBucketResult/>'.encode("utf-16"),
    "not xml": b"<ListBucketResult>",
    "another document": b"<Error><Code>x</Code></Error>",
    "no field": b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>"
    b"</ListBucketResult>",
    "no marker": b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    "key not utf-8": b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>%ff</Key><Size>1</Size>"
    b"<ETag>e</ETag><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>",
}


@pytest.mark.parametrize("body", LISTS.values(), ids=LISTS)
def test_a_list_that_is_none_is_asked_for_again_and_then_given_up(server, storage, body):
    server.fail_next(1, body=body)
    assert [found.key for found in storage.list("in/")] == [KEY]
    server.fail_next(1000, body=body)
    with pytest.raises(StorageUnavailable, match="the list cannot be read"):
        list(storage.list("in/"))


def test_a_list_that_goes_in_circles_ends(server, storage):
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextMarker>in/a</NextMarker></ListBucketResult>"
    )
    server.fail_next(1000, body=page)
    with pytest.raises(StorageUnavailable, match="does not come to an end"):
        list(storage.list("in/"))
    assert len(server.requests) == 2


def test_a_server_that_drips_cannot_hold_a_call_past_its_deadline(server, clock):
    storage = CosStorage(
        server.bucket,
        server.region,
        lambda: server.credentials,
        endpoint=server.endpoint,
        clock=clock,
        deadline=0.3,
    )
    server.fail_next(1000, delay=0.02)  # the body would take 320 seconds
    with pytest.raises(StorageUnavailable, match="slowly"):
        storage.get(KEY)


def test_nobody_listening_is_unavailable(clock):
    with CosServer() as gone:
        endpoint = gone.endpoint
    storage = CosStorage("b-1", "ap-x", lambda: Credentials("a", "canary"), endpoint=endpoint, clock=clock)
    with pytest.raises(StorageUnavailable, match="Connection refused") as caught:
        storage.get(KEY)
    without_secrets(caught.value)


def test_connections_left_idle_are_not_trusted(server, storage, clock):
    storage.head(KEY)
    clock.ahead += 3600
    storage.head(KEY)
    assert server.accepted == 2


def test_many_threads_share_a_storage(server, storage):
    server.fail_next(4, status=503)
    server.fail_next(3, cut=0.5, method="GET")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: storage.read(KEY, RANGES), range(60)))
    assert answers == [WANTED] * 60


def test_every_error_of_storage_is_one_of_ours(server, storage):
    """Whatever status comes, with and without a body."""
    for status in [*range(300, 309), *range(400, 432), 451, *range(500, 512), 599]:
        server.fail_next(8, status=status, code="X", body=b"\xff\xfe<Code>")
        with pytest.raises(FilmstripError) as caught:
            storage.head(KEY)
        without_secrets(caught.value)
        while server.take_fault("HEAD").status:
            continue
