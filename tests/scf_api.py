"""SCF's API on the loopback: takes Invoke, checks every signature, and can be made to fail.

The signature is checked by an implementation of its own, from the bytes that arrived (Tencent Cloud API 3.0,
"Signature algorithm v3", TC3-HMAC-SHA256).

    with ScfApi() as api:
        api.fail_next(code="RequestLimitExceeded")
        ScfInvoker(lambda: api.credentials, region=api.region, endpoint=api.endpoint, ...)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from lib.signing.cos import Credentials

LEEWAY = 300  # seconds between the request's time and ours
VERSION = "2018-04-16"
ACCEPTED = {
    "BillDuration": 0,
    "Duration": 0,
    "ErrMsg": "",
    "FunctionRequestId": "3c140219-cfe9-470e-b241-907877d6fb03",
    "InvokeResult": 0,
    "Log": "",
    "MemUsage": 0,
    "RetMsg": "",
}
"""The Result of an Event invocation: nothing is known of its run yet."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one answer. The request is not carried out."""

    code: str = ""
    message: str = "injected"
    status: int = 200
    body: bytes | None = None  # sent as it is, instead of the envelope
    length: int = 0  # added to Content-Length: the connection ends before the body does


@dataclass
class Refusal(Exception):
    code: str
    message: str


class ScfApi:
    def __init__(self, region: str = "ap-guangzhou", credentials: Credentials | None = None) -> None:
        self.region = region
        self.credentials = credentials or Credentials("AKIDserver", "canarysecretkey", "canary/token+=")
        self.invocations: list[Mapping[str, Any]] = []
        """The parameters of each Invoke that was accepted."""
        self._faults: list[Fault] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ScfApi:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail_next(self, **fault: Any) -> None:
        """The next request fails so (fields of Fault); several calls queue up."""
        self._faults.append(Fault(**fault))

    def answer(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes, int]:
        """(HTTP status, body, its length as told). API 3.0 answers errors of its own with status 200."""
        if self._faults:
            fault = self._faults.pop(0)
            told = {"Error": {"Code": fault.code, "Message": fault.message}}
            sent = fault.body if fault.body is not None else _envelope(told)
            return fault.status, sent, len(sent) + fault.length
        try:
            self._verify(headers, body)
            self.invocations.append(_invocation(headers, body))
        except Refusal as refusal:
            sent = _envelope({"Error": {"Code": refusal.code, "Message": refusal.message}})
        else:
            sent = _envelope({"Result": ACCEPTED})
        return 200, sent, len(sent)

    def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        given = re.fullmatch(
            r"TC3-HMAC-SHA256 Credential=([^/]+)/(\d{4}-\d\d-\d\d)/scf/tc3_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            headers.get("authorization", ""),
        )
        if given is None:
            raise Refusal("AuthFailure.InvalidAuthorization", headers.get("authorization", ""))
        secret_id, date, names, signature = given.groups()
        stamp = headers.get("x-tc-timestamp", "")
        if not stamp.isdigit() or abs(int(stamp) - time.time()) > LEEWAY:
            raise Refusal("AuthFailure.SignatureExpire", stamp)
        if date != datetime.fromtimestamp(int(stamp), timezone.utc).strftime("%Y-%m-%d"):
            raise Refusal("AuthFailure.SignatureFailure", "the date is another than the timestamp's")
        if secret_id != self.credentials.secret_id:
            raise Refusal("AuthFailure.SecretIdNotFound", secret_id)
        signed = names.split(";")
        if not {"content-type", "host"} <= set(signed) or signed != sorted(signed):
            raise Refusal("AuthFailure.SignatureFailure", f"signed headers {names}")
        canonical = "\n".join(
            [
                "POST\n/\n",
                *(f"{name}:{headers.get(name, '').strip().lower()}" for name in signed),
                "",
                names,
                hashlib.sha256(body).hexdigest(),
            ]
        )
        key = b"TC3" + self.credentials.secret_key.encode()
        for part in (date, "scf", "tc3_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"TC3-HMAC-SHA256\n{stamp}\n{date}/scf/tc3_request\n{digest}"
        if hmac.digest(key, text.encode(), "sha256").hex() != signature:
            raise Refusal("AuthFailure.SignatureFailure", "the signature is another")
        if headers.get("x-tc-token", "") != (self.credentials.token or ""):
            raise Refusal("AuthFailure.TokenFailure", "the token is another")


def _invocation(headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    if (headers.get("x-tc-action"), headers.get("x-tc-version")) != ("Invoke", VERSION):
        raise Refusal("InvalidAction", f"{headers.get('x-tc-action')} {headers.get('x-tc-version')}")
    if not headers.get("x-tc-region"):
        raise Refusal("MissingParameter", "Region")
    parameters = json.loads(body)
    known = {"FunctionName", "Namespace", "Qualifier", "InvocationType", "ClientContext", "LogType"}
    if unknown := set(parameters) - known:
        raise Refusal("UnknownParameter", ", ".join(sorted(unknown)))
    if not all(isinstance(value, str) for value in parameters.values()):
        raise Refusal("InvalidParameter", "every parameter is a string")
    if not parameters.get("FunctionName"):
        raise Refusal("MissingParameter", "FunctionName")
    return {**parameters, "Region": headers["x-tc-region"]}


def _envelope(response: Mapping[str, Any]) -> bytes:
    return json.dumps(
        {"Response": {**response, "RequestId": "eac6b301-a322-493a-8e36-83b295459397"}}
    ).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: ScfApi


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, answer, length = self.server.api.answer(
            {name.lower(): value for name, value in self.headers.items()}, body
        )
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")  # none of its threads waits for a client that kept it open
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests look at `invocations`."""
