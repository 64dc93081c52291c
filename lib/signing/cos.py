"""The signature of COS requests (COS, "Request Signature", q-sign-algorithm=sha1).

The signed text holds the method, the raw path and the listed parameters and headers; the list itself is
sent along, so COS checks exactly what was signed. The Authorization header covers one request; a presigned
query makes a URL that anyone may use until its end.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from lib.errors import ConfigurationError

SIGNED_HEADERS = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-length", "content-md5"}
    | {"content-type", "expect", "expires", "host", "if-match", "if-modified-since", "if-none-match"}
    | {"if-unmodified-since", "origin", "pic-operations", "range", "transfer-encoding"}
)
"""Besides all x-cos-* and x-ci-* headers; others may be changed on the way and are not signed."""

TOKEN = "x-cos-security-token"  # noqa: S105 (the name of the header and parameter, not a token)


@dataclass(frozen=True)
class Credentials:
    """Key pair of an account or, with a token, of a role. Raises ConfigurationError for an unusable one."""

    secret_id: str
    secret_key: str
    token: str | None = None

    def __post_init__(self) -> None:
        for name in ("secret_id", "secret_key"):
            if not getattr(self, name):
                raise ConfigurationError(variable=name, problem="is empty; COS requests cannot be signed")
        for name in ("secret_id", "secret_key", "token"):
            value = getattr(self, name) or ""
            # Refused here: the HTTP client would quote such a value in its own error.
            if not (value.isascii() and value.isprintable() and " " not in value):
                raise ConfigurationError(variable=name, problem="has blanks, line ends or non-ASCII in it")

    def __repr__(self) -> str:
        return f"Credentials(secret_id=***, secret_key=***, token={'***' if self.token else None})"


def authorization(
    method: str,
    path: str,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    secret_id: str,
    secret_key: str,
    start: int,
    end: int,
) -> str:
    """The Authorization header of one request, valid from `start` to `end` (UNIX seconds).

    `path` is "/" and the key as it is, not percent-encoded. Of `headers`, those COS wants signed are signed.
    """
    signed = {k: v for k, v in headers.items() if k.lower() in SIGNED_HEADERS or _is_extension(k)}
    header_list, header_text = _canonical(signed)
    param_list, param_text = _canonical(params)
    request = f"{method.lower()}\n{path}\n{param_text}\n{header_text}\n"
    time = f"{start};{end}"
    digest = hashlib.sha1(request.encode()).hexdigest()  # noqa: S324 (the algorithm COS knows)
    signature = _hmac(_hmac(secret_key, time), f"sha1\n{time}\n{digest}\n")
    return (
        f"q-sign-algorithm=sha1&q-ak={secret_id}&q-sign-time={time}&q-key-time={time}"
        f"&q-header-list={header_list}&q-url-param-list={param_list}&q-signature={signature}"
    )


def presigned_query(
    method: str,
    path: str,
    headers: Mapping[str, str],
    credentials: Credentials,
    *,
    start: int,
    end: int,
) -> str:
    """The query that lets anyone send this request until `end`; a role's token is in it, and signed."""
    params = {TOKEN: credentials.token} if credentials.token else {}
    text = authorization(
        method,
        path,
        params,
        headers,
        secret_id=credentials.secret_id,
        secret_key=credentials.secret_key,
        start=start,
        end=end,
    )
    pairs = [pair.split("=", 1) for pair in text.split("&")]
    return "&".join(f"{_quote(name)}={_quote(value)}" for name, value in [*pairs, *params.items()])


def _canonical(pairs: Mapping[str, str]) -> tuple[str, str]:
    """The list of names and the text of pairs, both sorted; names are encoded first, then lowered."""
    encoded = sorted({_quote(name).lower(): _quote(value) for name, value in pairs.items()}.items())
    return ";".join(name for name, _ in encoded), "&".join(f"{name}={value}" for name, value in encoded)


def _is_extension(header: str) -> bool:
    return header.lower().startswith(("x-cos-", "x-ci-"))


def _quote(text: str) -> str:
    return quote(text, safe="")


def _hmac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha1).hexdigest()
