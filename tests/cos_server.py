"""A COS on the loopback: really stores objects (in memory), checks every signature, and can be made to fail.

The signature is checked by an implementation of its own, from the bytes that arrived (COS, "Request
Signature"), and is stricter than COS: every parameter and every x-cos-* header must be signed.

    with CosServer() as server:
        server.fail_next(status=503, code="SlowDown", times=2)
        CosStorage(server.bucket, server.region, lambda: server.credentials, endpoint=server.endpoint, ...)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

from lib.signing.cos import Credentials

TOKEN = "x-cos-security-token"


class LeapingClock:
    """Starts at the real time; sleeping leaps. For client and server alike, so that both stay in step."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ahead += seconds


@dataclass(frozen=True)
class Stored:
    data: bytes
    content_type: str
    cache_control: str
    modified: float  # UNIX seconds

    @property
    def etag(self) -> str:
        return hashlib.md5(self.data).hexdigest()


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one answer. With a status the request is not carried out."""

    status: int | None = None
    code: str = "InjectedFault"
    headers: Mapping[str, str] = field(default_factory=dict)  # added to the answer; None as a value removes
    drop: bool = False  # the connection is reset without an answer
    cut: float | None = None  # share of the body that is sent before the connection ends
    length: int = 0  # added to Content-Length
    etag: str | None = None  # told instead of the real one
    delay: float = 0.0  # seconds before each of the body's bytes
    ignore_range: bool = False
    shift_range: int = 0  # bytes by which the range served is another than asked
    body: bytes | None = None  # sent instead of the real one
    method: str | None = None  # only for requests of this method
    before: Callable[[], None] | None = None  # called before the request is carried out


@dataclass(frozen=True)
class Asked:
    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    status: int
    sent: int  # bytes of the body


@dataclass
class Refusal(Exception):
    status: int
    code: str
    detail: str = ""


class CosServer:
    def __init__(
        self,
        bucket: str = "media-1250000000",
        region: str = "ap-guangzhou",
        credentials: Credentials | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.bucket = bucket
        self.region = region
        self.credentials = credentials or Credentials("AKIDserver", "canarysecretkey", "canary/token+=")
        self.objects: dict[str, Stored] = {}
        self.requests: list[Asked] = []
        self.skew = 0.0  # seconds our clock is ahead
        self.errors: list[BaseException] = []
        self._now = now
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.cos = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> CosServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.stopping.set()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
        if self.errors and error is None:
            raise self.errors[0]

    def now(self) -> float:
        return self._now() + self.skew

    @property
    def sent(self) -> int:  # bytes of bodies so far
        return sum(asked.sent for asked in self.requests)

    def store(self, key: str, data: bytes, content_type: str = "video/mp4", cache_control: str = "") -> str:
        """Puts an object without a request; gives its ETag."""
        stored = Stored(data, content_type, cache_control, self.now())
        self.objects[key] = stored
        return stored.etag

    def fail_next(self, times: int = 1, **fault: Any) -> None:
        """The next `times` requests fail so (fields of Fault); several calls queue up."""
        with self._lock:
            self._faults += [Fault(**fault)] * times

    def take_fault(self, method: str) -> Fault:
        with self._lock:
            for position, fault in enumerate(self._faults):
                if fault.method in (None, method):
                    return self._faults.pop(position)
        return Fault()

    @property
    def accepted(self) -> int:  # connections so far
        return self._server.accepted


class _Server(ThreadingHTTPServer):
    cos: CosServer
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        self.accepted = 0

    def hang_up(self) -> None:
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # gone already
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.cos.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.add(self.connection)
        self.server.accepted += 1

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.cos.now() if timestamp is None else timestamp, usegmt=True)

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        cos = self.server.cos
        # As it arrived: http.server tidies self.path.
        path, _, query = self.requestline.split(" ")[1].partition("?")
        self.key = unquote(path, errors="strict")[1:]
        self.query = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        self.asked = {name.lower(): value for name, value in self.headers.items()}
        self.fault = cos.take_fault(self.command)
        self.request_id = base64.b64encode(b"request %d" % len(cos.requests)).decode()
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            if self.fault.drop:
                self.close_connection = True
                # Lingering for no time makes the close a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                cos.requests.append(Asked(self.command, self.key, self.query, self.asked, 0, 0))
                return
            if self.fault.before:
                self.fault.before()
            if self.fault.status is not None:
                raise Refusal(self.fault.status, self.fault.code)
            self._authenticate(path)
            answer = self._list if not self.key else getattr(self, f"_{self.command.lower()}")
            answer(body)
        except Refusal as refusal:
            self._refuse(refusal)

    def _authenticate(self, path: str) -> None:
        cos = self.server.cos
        in_query = "q-signature" in self.query
        text = self.asked.get("authorization", "")
        given = self.query if in_query else dict(pair.partition("=")[::2] for pair in text.split("&"))
        if given.get("q-sign-algorithm") != "sha1":
            raise Refusal(403, "AccessDenied")
        if given["q-ak"] != cos.credentials.secret_id:
            raise Refusal(403, "InvalidAccessKeyId")
        start, end = map(int, given["q-sign-time"].split(";"))
        if given["q-key-time"] != given["q-sign-time"] or not start <= cos.now() <= end:
            raise Refusal(403, "RequestTimeTooSkewed" if cos.now() < start else "AccessDenied")
        header_names = [name for name in given["q-header-list"].split(";") if name]
        param_names = [name for name in given["q-url-param-list"].split(";") if name]
        params = {
            quote(name, safe="").lower(): value
            for name, value in self.query.items()
            if not (in_query and name.startswith("q-"))
        }
        headers = {quote(name, safe="").lower(): value for name, value in self.asked.items()}
        needed = set() if in_query else {name for name in headers if name.startswith("x-cos-")}
        if set(param_names) != set(params) or not needed <= set(header_names) <= set(headers):
            raise Refusal(403, "SignatureDoesNotMatch", "the lists are not what was sent")
        parts = [
            self.command.lower(),
            unquote(path),
            "&".join(f"{name}={quote(params[name], safe='')}" for name in sorted(param_names)),
            "&".join(
                f"{name}={quote(headers[name].encode('latin-1'), safe='')}" for name in sorted(header_names)
            ),
            "",
        ]
        digest = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        key = self._hmac(cos.credentials.secret_key, given["q-key-time"])
        expected = self._hmac(key, f"sha1\n{given['q-sign-time']}\n{digest}\n")
        if given["q-signature"] != expected:
            raise Refusal(403, "SignatureDoesNotMatch", "\n".join(parts))
        token = self.query.get(TOKEN) or self.asked.get(TOKEN)
        if token != cos.credentials.token:
            raise Refusal(403, "ExpiredToken", f"{TOKEN}={token}")

    @staticmethod
    def _hmac(key: str, text: str) -> str:
        return hmac.new(key.encode(), text.encode(), "sha1").hexdigest()

    def _get(self, body: bytes) -> None:
        stored = self.server.cos.objects.get(self.key)
        if stored is None:
            raise Refusal(404, "NoSuchKey")
        etag = f'"{stored.etag}"'
        if self.asked.get("if-match", etag) not in (etag, "*"):
            raise Refusal(412, "PreconditionFailed")
        headers = {
            "ETag": etag if self.fault.etag is None else self.fault.etag,
            "Last-Modified": formatdate(stored.modified, usegmt=True),
            "Content-Type": stored.content_type,
            "Cache-Control": stored.cache_control,
            "Accept-Ranges": "bytes",
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.asked.get("range", ""))
        if not wanted or self.fault.ignore_range:
            self._answer(200, headers, stored.data)
            return
        size = len(stored.data)
        first = int(wanted.group(1)) + self.fault.shift_range
        last = min(int(wanted.group(2) or size) + self.fault.shift_range, size - 1)
        if first >= size:
            self._answer(416, {"Content-Range": f"bytes */{size}"}, b"")
            return
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._answer(206, headers, stored.data[first : last + 1])

    _head = _get

    def _put(self, body: bytes) -> None:
        digest = self.asked.get("content-md5")
        if digest and base64.b64decode(digest) != hashlib.md5(body).digest():
            raise Refusal(400, "BadDigest")
        kind, cache = self.asked.get("content-type", ""), self.asked.get("cache-control", "")
        etag = self.server.cos.store(self.key, body, kind, cache)
        self._answer(200, {"ETag": f'"{etag}"'}, b"")

    def _delete(self, body: bytes) -> None:
        self.server.cos.objects.pop(self.key, None)
        self._answer(204, {}, b"")

    def _list(self, body: bytes) -> None:
        if self.command == "HEAD":
            self._answer(200, {"x-cos-bucket-region": self.server.cos.region}, b"")
            return
        prefix, marker = self.query.get("prefix", ""), self.query.get("marker", "")
        most = min(int(self.query.get("max-keys", "1000")), 1000)
        code = quote if self.query.get("encoding-type") == "url" else escape
        objects = self.server.cos.objects
        found = sorted(key for key in list(objects) if key.startswith(prefix) and key > marker)
        page, cut = found[:most], len(found) > most
        contents = "".join(
            f"<Contents><Key>{code(key)}</Key><LastModified>"
            f"{datetime.fromtimestamp(objects[key].modified, timezone.utc):%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>&quot;{objects[key].etag}&quot;</ETag><Size>{len(objects[key].data)}</Size>"
            "</Contents>"
            for key in page
        )
        more = f"<NextMarker>{code(page[-1])}</NextMarker>" if cut else ""
        text = (
            '<?xml version="1.0" encoding="utf-8"?>\n<ListBucketResult>'
            f"<Name>{self.server.cos.bucket}</Name><Prefix>{code(prefix)}</Prefix>"
            f"<Marker>{code(marker)}</Marker><MaxKeys>{most}</MaxKeys>"
            f"<IsTruncated>{str(cut).lower()}</IsTruncated>{more}{contents}</ListBucketResult>"
        )
        self._answer(200, {"Content-Type": "application/xml"}, text.encode())

    def _refuse(self, refusal: Refusal) -> None:
        # COS repeats what was signed in its error: the canary of tests that look for leaks.
        text = (
            f'<?xml version="1.0" encoding="utf-8"?>\n<Error><Code>{refusal.code}</Code>'
            f"<Message>{escape(refusal.detail)}</Message><Resource>{escape(self.server.cos.bucket)}</Resource>"
            f"<StringToSign>{escape(str(self.asked))}</StringToSign>"
            f"<RequestId>{self.request_id}</RequestId><TraceId>canarytrace</TraceId></Error>"
        )
        self._answer(refusal.status, {"Content-Type": "application/xml"}, text.encode())

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        fault = self.fault
        body = body if fault.body is None else fault.body
        told = {**headers, "x-cos-request-id": self.request_id}
        if status != 204:
            told["Content-Length"] = str(len(body) + fault.length)
        if self.command == "HEAD" or status == 204:
            body = b""
        elif fault.cut is not None:
            body = body[: int(len(body) * fault.cut)]
        if fault.cut is not None or fault.length:
            self.close_connection = True
        # First, for whoever has the answer may look.
        self.server.cos.requests.append(
            Asked(self.command, self.key, self.query, self.asked, status, len(body))
        )
        self.send_response(status)
        for name, value in {**told, **fault.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if fault.delay:
            for position in range(len(body)):
                if self.server.stopping.wait(fault.delay):
                    return
                self.wfile.write(body[position : position + 1])
        else:
            self.wfile.write(body)
