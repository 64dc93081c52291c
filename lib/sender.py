"""Sends a callback: one POST to an address that the guard has checked."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from lib.errors import SendFailed
from lib.netguard import Guard, Target
from lib.ports import Answer

if TYPE_CHECKING:
    import ssl
    from email.message import Message

BODY_LIMIT = 64 * 1024
"""Bytes read of an answer's body: enough for a receiver to finish its answer in peace, never kept."""
RETRY_AFTER_LIMIT = 86_400.0


class HttpSender:
    """Speaks HTTP/1.1 with the standard library: no pool to reuse, no redirects, no proxies, no decoding.

    `timeout` is the total of one send in seconds: name, connection, TLS, request and answer. `ca_file` is a
    PEM file of the authorities to trust instead of the system's.
    """

    def __init__(self, guard: Guard, *, timeout: float = 5.0, ca_file: str | None = None) -> None:
        self._guard = guard
        self._timeout = timeout
        self._ca_file = ca_file

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One POST of a JSON body. Raises AddressRefused, SendFailed; an answer of any status is returned.

        The status counts as soon as the head of the answer is whole, whatever becomes of its body.
        """
        from http.client import HTTPConnection, HTTPException

        deadline = time.monotonic() + self._timeout
        target = self._guard.resolve(url, seconds=self._timeout)
        cut = threading.Event()
        try:
            with _connected(target, deadline, cut) as wire, self._secured(wire, target) as secured:
                connection = HTTPConnection(target.host, target.port)
                connection.sock = secured
                with suppress(BrokenPipeError):  # a receiver may answer, and hang up, before it has read all
                    connection.request("POST", target.path_and_query, body, _headers(target, headers))
                with connection.getresponse() as response:
                    if cut.is_set():  # the head may end where the connection was cut
                        raise TimeoutError
                    answer = Answer(response.status, _retry_after(response.headers))
                    with suppress(OSError, HTTPException):
                        response.read(BODY_LIMIT)
                    return answer
        except (OSError, HTTPException) as error:
            late = cut.is_set() or isinstance(error, TimeoutError)
            reason = f"no answer within {self._timeout:g} s" if late else _reason(error)
            raise SendFailed(reason=f"{target.authority}: {reason}") from None

    def _secured(self, wire: socket.socket, target: Target) -> socket.socket:
        """TLS for the name, although the connection was made by address; another name's certificate fails."""
        if target.scheme == "http":
            return wire
        return self._context.wrap_socket(wire, server_hostname=target.host)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        import ssl

        authorities, paths = self._ca_file, ssl.get_default_verify_paths()
        if authorities is None and paths.cafile is None and paths.capath is None:
            import certifi  # a Python built without a store of its own

            authorities = certifi.where()
        return ssl.create_default_context(cafile=authorities)


@contextmanager
def _connected(target: Target, deadline: float, cut: threading.Event) -> Iterator[socket.socket]:
    """A connection that is shut down at the deadline, and `cut` set.

    A socket's own timeout starts anew with every byte: one byte a second would hold us for ever.
    """
    address = (target.address, target.port)
    left = max(deadline - time.monotonic(), 0.001)
    # TLS takes the descriptor away from `wire`, so the timer has one of its own.
    with socket.create_connection(address, timeout=left) as wire, wire.dup() as own:

        def shut() -> None:
            cut.set()
            with suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(deadline - time.monotonic(), 0), shut)
        timer.daemon = True
        timer.start()
        try:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield wire
        finally:
            timer.cancel()
            timer.join()


def _headers(target: Target, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        **{name.lower(): value for name, value in headers.items()},
        "host": target.authority,
        "content-type": "application/json",
        "user-agent": "filmstrip",
        "accept-encoding": "identity",
        "connection": "close",
    }


def _retry_after(headers: Message) -> float | None:
    """Seconds, from either form of Retry-After (RFC 9110, 10.2.3), within a day.

    A date is measured from the answer's own Date, so that the receiver's clock need not agree with ours.
    """
    from email.utils import parsedate_to_datetime

    value = str(headers.get("retry-after", "")).strip()
    if re.fullmatch("[0-9]{1,10}", value):
        return min(float(value), RETRY_AFTER_LIMIT)
    try:
        until, now = parsedate_to_datetime(value), parsedate_to_datetime(str(headers.get("date", "")))
        return min(max((until - now).total_seconds(), 0.0), RETRY_AFTER_LIMIT)
    except (TypeError, ValueError, OverflowError):  # no date, or only one of them with a time zone
        return None


def _reason(error: Exception) -> str:
    """Never what the receiver wrote: it ends in logs."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return f"its answer is not HTTP ({type(error).__name__})"
