"""Our COS signature against the official SDK's, over random requests."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qcloud_cos import CosConfig, CosS3Client, cos_auth
from requests import Request

from lib.errors import ConfigurationError
from lib.signing.cos import Credentials, authorization, presigned_query

NOW = 1_700_000_000
ID, KEY = "AKIDcanaryid", "canarysecretkey"

texts = st.one_of(
    st.text(alphabet=" +%~!*'()/&=;?#.-_aZ0é中😀\\\"", max_size=30),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30),
)
names = st.one_of(
    st.sampled_from(
        ["prefix", "Marker", "max-keys", "encoding-type", "acl", "uploads", "a b", "ключ", "x+y"]
    ),
    texts.filter(bool),
)
header_names = st.one_of(
    st.sampled_from(
        ["Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-MD5"]
    ),
    st.sampled_from(["Content-Type", "Expect", "Expires", "If-Modified-Since", "If-None-Match", "Origin"]),
    st.sampled_from(
        ["If-Unmodified-Since", "Pic-Operations", "Transfer-Encoding", "x-cos-acl", "content-type"]
    ),
    st.sampled_from(["Range", "RANGE", "Host", "If-Match", "x-cos-meta-A", "X-COS-security-token", "x-ci-Z"]),
    st.sampled_from(["User-Agent", "Accept", "Authorization", "x-amz-date", "Date"]),
)


@pytest.fixture(autouse=True)
def _frozen_sdk(monkeypatch):
    """The SDK signs from 60 seconds before the time it reads here."""
    monkeypatch.setattr(cos_auth, "time", SimpleNamespace(time=lambda: NOW))


def sdk_authorization(method, key, params, headers, expire):
    conf = CosConfig(Region="ap-guangzhou", SecretId=ID, SecretKey=KEY)
    signer = cos_auth.CosS3Auth(conf, key, params, expire, sign_host=False)
    request = SimpleNamespace(method=method, headers=dict(headers), url="https://unused.example/")
    return signer(request).headers["Authorization"]


def test_random_requests_are_signed_as_the_sdk_signs_them(share):
    @settings(max_examples=share(5000, 300), deadline=None)
    @given(
        method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST", "get"]),
        key=texts.filter(lambda key: not key.startswith("/")),
        params=st.dictionaries(names, texts, max_size=5),
        headers=st.dictionaries(header_names, texts, max_size=6),
        expire=st.integers(1, 86_400),
    )
    @example("GET", "a/../b%2e +~!.mp4", {"acl": ""}, {"Range": "bytes=0-1", "range": "bytes=5-6"}, 600)
    @example("GET", "", {"A": "1", "a": "2", "prefix": ""}, {}, 600)
    @example("PUT", "😀" * 200, {}, {"Content-Type": "text/vtt; charset=utf-8"}, 600)
    def check(method, key, params, headers, expire):
        ours = authorization(
            method,
            "/" + key,
            params,
            headers,
            secret_id=ID,
            secret_key=KEY,
            start=NOW - 60,
            end=NOW + expire,
        )
        assert ours == sdk_authorization(method, key, params, headers, expire)

    check()


def test_each_part_of_the_request_changes_the_signature():
    request = {"method": "GET", "path": "/a", "params": {"x": "1"}, "headers": {"host": "h"}}
    key = {"secret_id": ID, "secret_key": KEY, "start": NOW, "end": NOW + 1}
    changes = [
        {},
        {"method": "PUT"},
        {"path": "/A"},
        {"params": {"x": "2"}},
        {"headers": {"host": "i"}},
        {"secret_key": KEY + "x"},
        {"start": NOW + 1},
        {"end": NOW + 2},
    ]
    signatures = {authorization(**{**request, **key, **change}).rpartition("=")[2] for change in changes}
    assert len(signatures) == len(changes)


@pytest.mark.parametrize("token", [None, "to/ken+with=signs%20"])
@pytest.mark.parametrize("key", ["a.mp4", "dir/видео +%~!😀.mp4"])
def test_a_presigned_url_is_the_sdks(key, token):
    # GIVEN the SDK's URL, with the token as a parameter (left out by the SDK on its own)
    client = CosS3Client(CosConfig(Region="ap-guangzhou", SecretId=ID, SecretKey=KEY))
    params = {"x-cos-security-token": token} if token else {}
    url = client.get_presigned_url("media-1250000000", key, "GET", Expired=900, Params=params)
    # WHEN we sign the same
    host = "media-1250000000.cos.ap-guangzhou.myqcloud.com"
    query = presigned_query(
        "GET", "/" + key, {"host": host}, Credentials(ID, KEY, token), start=NOW - 60, end=NOW + 900
    )
    # THEN every parameter is the same, the token signed among them
    assert dict(parse_qsl(query, keep_blank_values=True)) == dict(
        parse_qsl(urlsplit(url).query, keep_blank_values=True)
    )
    assert parse_qs(query).get("q-url-param-list", []) == (["x-cos-security-token"] if token else [])
    assert Request("GET", "https://h/?" + query).prepare().url == "https://h/?" + query


def test_credentials_show_nothing():
    shown = repr(Credentials(ID, KEY, "canarytoken")) + str(Credentials(ID, KEY, "canarytoken"))
    assert "canary" not in shown


@pytest.mark.parametrize(
    ("fields", "variable"),
    [
        (("", KEY), "secret_id"),
        ((ID, ""), "secret_key"),
        ((ID, KEY + "\n"), "secret_key"),
        ((ID, KEY, "canary token"), "token"),
        ((ID, KEY, "canary\r\nHost: x"), "token"),
        (("идcanary", KEY), "secret_id"),
    ],
)
def test_unusable_credentials_are_refused_by_name_without_their_value(fields, variable):
    with pytest.raises(ConfigurationError, match=f"^{variable}: ") as caught:
        Credentials(*fields)
    assert "canary" not in str(caught.value)
