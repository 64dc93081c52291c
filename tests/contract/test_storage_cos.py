"""What COS alone has to show, over HTTP."""

from __future__ import annotations

import hashlib

import pytest
import urllib3
from qcloud_cos import CosConfig, CosS3Client

from lib.storage.cos import CosStorage
from tests.cos_server import CosServer, LeapingClock

BUCKET = "media-1250000000"


def put(storage, key, data=b"data", content_type="image/jpeg", cache_control="no-cache"):
    storage.put(key, data, content_type=content_type, cache_control=cache_control)


@pytest.fixture
def cos():
    clock = LeapingClock()
    with CosServer(BUCKET, now=clock.now) as server:
        storage = CosStorage(
            BUCKET, server.region, lambda: server.credentials, endpoint=server.endpoint, clock=clock
        )
        yield server, storage, clock


def test_cos_stores_type_and_cache_control(cos):
    server, storage, _ = cos
    put(storage, "a.vtt", b"WEBVTT", "text/vtt; charset=utf-8", "no-cache")
    stored = server.objects["a.vtt"]
    assert (stored.content_type, stored.cache_control) == ("text/vtt; charset=utf-8", "no-cache")
    with urllib3.PoolManager() as anyone:
        headers = anyone.request("GET", storage.presign("a.vtt", seconds=60)).headers
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("text/vtt; charset=utf-8", "no-cache")


def test_every_cos_request_signs_host_and_token_and_puts_its_digest(cos):
    server, storage, _ = cos
    put(storage, "a", b"data")
    storage.head("a")
    storage.read("a", [(0, 1), (1, 2)], etag=storage.head("a").etag)
    list(storage.list(""))
    storage.delete("a")
    for asked in server.requests:
        signed = asked.headers["authorization"].partition("q-header-list=")[2].partition("&")[0].split(";")
        assert {"host", "x-cos-security-token"} <= set(signed)
        assert {"range", "if-match", "content-md5", "content-type"} & set(asked.headers) <= set(signed)
    assert "content-md5" in server.requests[0].headers
    assert [asked.status for asked in server.requests] == [200, 200, 200, 206, 206, 200, 204]


def test_cos_takes_new_keys_on_the_next_request(cos):
    server, storage, _ = cos
    put(storage, "a", b"data")
    old, server.credentials = server.credentials, type(server.credentials)("AKIDnew", "newkey", "newtoken")
    assert storage.get("a") == b"data"
    server.credentials = type(old)("AKIDpermanent", "key")
    assert storage.get("a") == b"data"
    assert "x-cos-security-token" not in server.requests[-1].headers


def test_a_presigned_cos_url_carries_the_token_and_ends(cos):
    _, storage, clock = cos
    put(storage, "a", b"data")
    url = storage.presign("a", seconds=60)
    assert "x-cos-security-token=canary%2Ftoken%2B%3D" in url
    with urllib3.PoolManager() as anyone:
        assert anyone.request("GET", url).status == 200
        assert anyone.request("GET", url.replace("/a?", "/b?")).status == 403
        assert anyone.request("HEAD", url).status == 403
        clock.sleep(120)
        assert anyone.request("GET", url).status == 403


def test_a_long_list_comes_page_by_page(cos):
    server, storage, _ = cos
    keys = {f"out/{n}/视频 & <{n}>+%.jpg" for n in range(2500)}
    for key in keys:
        server.store(key, key.encode())
    listed = list(storage.list("out/"))
    assert [found.key for found in listed] == sorted(keys)
    assert listed[7].etag == hashlib.md5(listed[7].key.encode()).hexdigest()
    assert len(server.requests) == 3


def test_connections_are_kept(cos):
    server, storage, _ = cos
    put(storage, "a", b"data" * 1000)
    for _ in range(20):
        storage.head("a")
        storage.read("a", [(0, 100), (200, 300), (4000, 4100)])
        put(storage, "b", b"x")
        storage.delete("b")
    assert server.accepted <= 3


def test_the_official_client_and_ours_share_the_server(cos):
    """The server does not just agree with our client."""
    server, storage, _ = cos
    official = CosS3Client(
        CosConfig(
            Region=server.region,
            SecretId=server.credentials.secret_id,
            SecretKey=server.credentials.secret_key,
            Token=server.credentials.token,
            Scheme="http",
            Domain=server.endpoint.removeprefix("http://"),
            SignHost=False,  # it would sign the host without the port
        ),
        retry=0,
    )
    key = "in/видео +%2e~!😀.mp4"
    official.put_object(BUCKET, b"from the SDK", key, ContentType="video/mp4")
    assert storage.get(key) == b"from the SDK"
    put(storage, key, b"from us")
    assert official.get_object(BUCKET, key, Range="bytes=5-6")["Body"].get_raw_stream().read() == b"us"
    listed = official.list_objects(BUCKET, Prefix="in/", EncodingType="url")
    assert [item["ETag"].strip('"') for item in listed["Contents"]] == [storage.head(key).etag]
