"""Whatever a receiver does, a send ends in time, takes little memory and goes nowhere else.

The receivers are real sockets. certificates/receiver.pem is a certificate for receiver.test, with its key,
that certificates/authority.pem has signed.
"""

from __future__ import annotations

import gzip
import itertools
import socket
import ssl
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lib.errors import AddressRefused, SendFailed
from lib.netguard import Guard
from lib.ports import Answer
from lib.sender import HttpSender

CERTIFICATES = Path(__file__).parent / "certificates"
BODY = b'{"eventType":"CreateImageSpriteComplete"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{\r\n}"
SHORT = 0.4  # seconds a sender may take where the receiver stalls
STALL = 40.0  # seconds a receiver stalls: a test that passes never waits for it
MEGABYTE = 1 << 20

Behaviour = Callable[[socket.socket, "Receiver"], None]


class Receiver:
    """Accepts connections on loopback and treats each as `behave` says."""

    def __init__(self, behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behave, self.tls = behave, tls
        self.requests: list[bytes] = []
        self.connections = 0
        self.sent = 0
        self.hung_up = threading.Event()  # the sender ended the connection
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.serve)]
        self.threads[0].start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.threads.append(threading.Thread(target=self.treat, args=(connection,)))
            self.threads[-1].start()

    def treat(self, connection: socket.socket) -> None:
        connection.settimeout(STALL)
        with connection, suppress(OSError):
            if self.tls is None:
                self.behave(connection, self)
            else:
                with self.tls.wrap_socket(connection, server_side=True) as secured:
                    self.behave(secured, self)

    def read(self, connection: socket.socket) -> None:
        """One request, head and body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        head = data.partition(b"\r\n\r\n")[0].lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(data) < len(head) + 4 + length:
            data += connection.recv(65_536)
        self.requests.append(data)

    def write(self, connection: socket.socket, parts: Iterator[bytes], *, pause: float = 0.0) -> None:
        """Sends part after part until the sender hangs up."""
        waiting = threading.Event()
        try:
            for part in parts:
                connection.sendall(part)
                self.sent += len(part)
                waiting.wait(pause)
        except OSError:
            self.hung_up.set()

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(STALL)


@contextmanager
def receiver(behave: Behaviour | bytes, **options: ssl.SSLContext) -> Iterator[Receiver]:
    one = Receiver(answer(behave) if isinstance(behave, bytes) else behave, **options)
    try:
        yield one
    finally:
        one.close()


def answer(data: bytes) -> Behaviour:
    def behave(connection: socket.socket, at: Receiver) -> None:
        at.read(connection)
        connection.sendall(data)

    return behave


def send(at: Receiver, *, timeout: float = STALL, body: bytes = BODY) -> Answer:
    sender = HttpSender(Guard([f"127.0.0.1:{at.port}"]), timeout=timeout)
    return sender.send(f"http://127.0.0.1:{at.port}/hook?token=opensesame", body, {"Webhook-Id": "event-1"})


def test_one_post_with_body_and_headers_arrives():
    with receiver(OK) as at:
        assert send(at) == Answer(200, None)
    assert at.connections == 1
    (request,) = at.requests
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    assert line == "POST /hook?token=opensesame HTTP/1.1"
    assert body == BODY
    assert sorted(header.lower() for header in headers) == [
        "accept-encoding: identity",
        "connection: close",
        f"content-length: {len(BODY)}",
        "content-type: application/json",
        f"host: 127.0.0.1:{at.port}",
        "user-agent: filmstrip",
        "webhook-id: event-1",
    ]


@pytest.mark.parametrize("status", [200, 202, 204, 301, 302, 400, 401, 404, 410, 429, 500, 502, 503, 504])
def test_an_answer_of_any_status_is_returned(status):
    length = b"" if status == 204 else b"Content-Length: 0\r\n"
    with receiver(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, length)) as at:
        assert send(at) == Answer(status, None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("Retry-After: 7", 7.0),
        ("retry-after:   0", 0.0),
        ("Retry-After: 86401", 86_400.0),
        ("Retry-After: 9999999999", 86_400.0),
        ("Retry-After: 99999999999", None),
        ("Retry-After: -1", None),
        ("Retry-After: 1.5", None),
        ("Retry-After: soon", None),
        ("Retry-After:", None),
        ("Date: Fri, 31 Dec 2027 23:59:00 GMT\r\nRetry-After: Sat, 01 Jan 2028 00:01:00 GMT", 120.0),
        ("Date: Fri, 31 Dec 2027 23:59:00 GMT\r\nRetry-After: Fri, 31 Dec 2027 00:00:00 GMT", 0.0),
        ("Date: Fri, 31 Dec 2027 23:59:00 GMT\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Date: Fri, 31 Dec 2027 23:59:00 GMT\r\nRetry-After: Fri, 31 Dec 2027 23:59:59", None),
        ("Date: nonsense\r\nRetry-After: Fri, 31 Dec 2027 23:59:59 GMT", None),
        ("Retry-After: Fri, 31 Dec 2027 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(headers, seconds):
    with receiver(f"HTTP/1.1 429 Slow\r\n{headers}\r\nContent-Length: 0\r\n\r\n".encode()) as at:
        assert send(at) == Answer(429, seconds)


def test_a_refused_connection_is_named():
    with receiver(OK) as at:
        pass
    with pytest.raises(SendFailed, match=rf"127\.0\.0\.1:{at.port}: connection refused"):
        send(at)


def reset(connection: socket.socket, at: Receiver) -> None:
    at.read(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_without_answer(connection: socket.socket, at: Receiver) -> None:
    at.read(connection)


@pytest.mark.parametrize(
    "behave",
    [
        reset,
        close_without_answer,
        answer(b"opensesame opensesame\r\n\r\n"),
        answer(b"HTTP/1.1 abc opensesame\r\n\r\n"),
        answer(b"HTTP/1.1 200 OK\r\n" + b"X: opensesame\r\n" * 200 + b"\r\n"),
        answer(b"HTTP/1.1 200 OK\r\nX: " + b"opensesame" * 10_000),
        answer(b"\x15\x03\x03\x00\x02\x02\x28"),
        answer(b"HTTP/1.1 100 Continue\r\n\r\n" * 5),
    ],
)
def test_no_answer_is_a_failure_that_tells_neither_query_nor_answer(behave):
    with receiver(behave) as at, pytest.raises(SendFailed) as failure:
        send(at)
    assert str(at.port) in str(failure.value)
    assert "opensesame" not in repr(failure.value) + str(failure.value.facts)
    assert failure.value.__cause__ is None


def never(connection: socket.socket, at: Receiver) -> None:
    at.read(connection)
    if connection.recv(1) == b"":
        at.hung_up.set()


def drip(start: bytes, part: bytes) -> Behaviour:
    """An answer that grows by a part every 20 ms, for as long as a test may take and longer."""

    def behave(connection: socket.socket, at: Receiver) -> None:
        at.read(connection)
        at.write(connection, itertools.chain([start], itertools.repeat(part, int(STALL / 0.02))), pause=0.02)

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        never,
        drip(b"", b"H"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X"),
        drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["never", "status", "header name", "header value", "endless 100"],
)
def test_the_deadline_holds_while_the_head_is_awaited(behave):
    with receiver(behave) as at:
        with pytest.raises(SendFailed, match=r"no answer within 0\.4 s"):
            send(at, timeout=SHORT)
        # THEN the receiver finds the connection ended long before it has done all it wanted
        assert at.hung_up.wait(STALL / 2)


@pytest.mark.parametrize(
    "behave",
    [
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;name=value"),
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
    ids=["length", "chunks", "chunk extension", "until close"],
)
def test_the_deadline_holds_while_the_body_drips_and_the_status_counts(behave):
    with receiver(behave) as at:
        assert send(at, timeout=SHORT) == Answer(200, None)
        assert at.hung_up.wait(STALL / 2)


def test_the_deadline_holds_for_a_receiver_that_does_not_read():
    def behave(connection: socket.socket, at: Receiver) -> None:
        at.hung_up.wait(STALL)

    with receiver(behave) as at:
        with pytest.raises(SendFailed, match=r"no answer within 0\.4 s"):
            send(at, timeout=SHORT, body=bytes(32 * MEGABYTE))
        at.hung_up.set()


@pytest.mark.parametrize("head", [b"Content-Length: 10485760\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_a_huge_body_is_left_where_it_is(head):
    # GIVEN a receiver that would answer with ten megabytes
    part = bytes(65_536)
    framed = b"10000\r\n" + part + b"\r\n" if b"chunked" in head else part

    def behave(connection: socket.socket, at: Receiver) -> None:
        at.read(connection)
        at.write(connection, itertools.chain([b"HTTP/1.1 200 OK\r\n" + head + b"\r\n"], [framed] * 160))

    with receiver(behave) as at:
        # THEN the answer counts, takes little memory, and most of the body never leaves the receiver
        assert measured(at, Answer(200, None)) < MEGABYTE
        assert at.hung_up.wait(STALL)
        assert at.sent < 8 * MEGABYTE


def test_a_compressed_bomb_is_not_unpacked():
    bomb = gzip.compress(bytes(48 * MEGABYTE), 9)
    assert len(bomb) < 65_536  # all of it is read
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with receiver(head + bomb) as at:
        assert measured(at, Answer(200, None)) < MEGABYTE


def measured(at: Receiver, expected: Answer) -> int:
    """Bytes of memory that a send takes at its peak, modules being loaded."""
    with receiver(OK) as warm:
        send(warm)
    tracemalloc.start()
    try:
        assert send(at) == expected
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "cut", [b"Content-Length: 100\r\n\r\nten bytes.", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"]
)
def test_a_body_that_breaks_off_does_not_undo_the_answer(cut):
    with receiver(b"HTTP/1.1 200 OK\r\n" + cut) as at:
        assert send(at) == Answer(200, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_an_internal_address_is_not_followed(status):
    with receiver(OK) as canary:
        location = f"Location: http://127.0.0.1:{canary.port}/\r\nContent-Length: 0"
        with receiver(f"HTTP/1.1 {status} Moved\r\n{location}\r\n\r\n".encode()) as at:
            assert send(at) == Answer(status, None)
            assert at.connections == 1
        assert canary.connections == 0


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    with receiver(OK) as canary, receiver(OK) as at:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        monkeypatch.setenv("no_proxy", "")
        assert send(at) == Answer(200, None)
        assert canary.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "0x7f000001",
        "2130706433",
        "127.1",
        "127。0。0。1",
        "[::ffff:7f00:1]",
        "me@127.0.0.1",
    ],
)
def test_what_the_guard_refuses_is_not_connected_to(host):
    with receiver(OK) as canary:
        for scheme in ("http", "https"):
            with pytest.raises(AddressRefused):
                HttpSender(Guard()).send(f"{scheme}://{host}:{canary.port}/", BODY, {})
        assert canary.connections == 0


def server_context(names: list[str | None]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "receiver.pem")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    return context


def to_loopback(*allow: str) -> Guard:
    """A guard whose names lead to loopback once, and to nowhere if asked again."""
    answers = iter([["127.0.0.1"]])
    return Guard(allow, resolver=lambda host, port, seconds: next(answers))


def test_tls_is_for_the_name_while_the_connection_is_by_address():
    names: list[str | None] = []
    with receiver(OK, tls=server_context(names)) as at:
        guard = to_loopback(f"receiver.test:{at.port}")
        sender = HttpSender(guard, ca_file=str(CERTIFICATES / "authority.pem"))
        assert sender.send(f"https://receiver.test:{at.port}/hook", BODY, {}) == Answer(200, None)
    assert names == ["receiver.test"]
    assert f"host: receiver.test:{at.port}\r\n".encode() in at.requests[0]
    assert at.requests[0].endswith(BODY)


@pytest.mark.parametrize(
    ("host", "ca_file", "reason"),
    [
        ("other.test", "authority.pem", "certificate is not valid: Hostname mismatch"),
        ("test", "authority.pem", "certificate is not valid: Hostname mismatch"),
        ("127.0.0.1", "authority.pem", "certificate is not valid: IP address mismatch"),
        ("receiver.test", None, "certificate is not valid: "),
    ],
)
def test_a_certificate_of_another_name_or_authority_is_refused(host, ca_file, reason):
    with receiver(OK, tls=server_context([])) as at:
        sender = HttpSender(
            to_loopback(f"{host}:{at.port}"), ca_file=str(CERTIFICATES / ca_file) if ca_file else None
        )
        with pytest.raises(SendFailed, match=reason):
            sender.send(f"https://{host}:{at.port}/hook?token=opensesame", BODY, {})
    # AND nothing of the callback was sent
    assert at.requests == []


def test_a_receiver_that_speaks_no_tls_gets_nothing():
    seen: list[bytes] = []

    def behave(connection: socket.socket, at: Receiver) -> None:
        seen.append(connection.recv(65_536))
        connection.sendall(OK)

    with receiver(behave) as at:
        sender = HttpSender(to_loopback(f"receiver.test:{at.port}"))
        with pytest.raises(SendFailed, match=rf"receiver\.test:{at.port}: "):
            sender.send(f"https://receiver.test:{at.port}/hook?token=opensesame", BODY, {})
    assert seen
    assert b"opensesame" not in seen[0]


def handshake_drips(connection: socket.socket, at: Receiver) -> None:
    connection.recv(65_536)
    record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # a ServerHello of 16 KB begins
    at.write(connection, itertools.chain([record], itertools.repeat(b"\x01", int(STALL / 0.02))), pause=0.02)


@pytest.mark.parametrize("within", [False, True], ids=["handshake", "answer"])
def test_the_deadline_holds_within_tls(within):
    options = {"tls": server_context([])} if within else {}
    with receiver(drip(b"HTTP/1.1 200 OK\r\nX: ", b"y") if within else handshake_drips, **options) as at:
        guard = to_loopback(f"receiver.test:{at.port}")
        sender = HttpSender(guard, timeout=SHORT, ca_file=str(CERTIFICATES / "authority.pem"))
        with pytest.raises(SendFailed, match=r"no answer within 0\.4 s"):
            sender.send(f"https://receiver.test:{at.port}/", BODY, {})
        assert at.hung_up.wait(STALL / 2)


def test_a_sender_leaves_no_socket_and_no_thread_behind():
    before = threading.active_count()
    for behave in (answer(OK), reset, close_without_answer, drip(b"HTTP/1.1 200 OK\r\nX: ", b"y")):
        with receiver(behave) as at, suppress(SendFailed):
            send(at, timeout=SHORT)
    assert threading.active_count() == before
