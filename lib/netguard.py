"""Which addresses a callback may be sent to (against server-side request forgery).

A URL is parsed once, its host name resolved once, every answer checked against the tables below, and the
sender connects to the checked address: between check and connection nothing is looked up again.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)

from lib.errors import AddressRefused, Invalid, SendFailed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int, float], Sequence[str]]
"""Host name, port, seconds it may take -> addresses. Raises SendFailed."""

PORTS = (443, 8443)
"""Ports that need no entry in CALLBACK_ALLOW: where HTTPS is served, and hardly anything else is."""

# IANA special-purpose address registries (RFC 6890), multicast and reserved space. `ip.is_global` is no
# substitute: it takes multicast, NAT64, site-local and SRv6 addresses for global ones.
_DENIED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(block), name)
    for block, name in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers"),
        ("127.0.0.0/8", "loopback"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.31.196.0/24", "reserved for AS112"),
        ("192.52.193.0/24", "reserved for AMT"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved for AS112"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "this host"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("ff00::/8", "multicast"),
        ("::/3", "not global unicast"),
        ("4000::/2", "not global unicast"),
        ("8000::/1", "not global unicast"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2620:4f:8000::/48", "reserved for AS112"),
        ("3fff::/20", "for documentation"),
    )
)
# What CALLBACK_ALLOW cannot open. Metadata services hand out the function's credentials; an IPv6 address that
# carries an IPv4 address could name one of them, and nobody needs to be called by such an address.
_NEVER: tuple[tuple[Network, str], ...] = (
    *(
        (ip_network(block), "a metadata service or link-local")
        for block in (
            "169.254.0.0/16",  # Tencent: 169.254.0.23; AWS, Google, Azure: 169.254.169.254
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "192.0.0.192/32",  # Oracle
            "fe80::/10",
            "fd00:ec2::/32",  # AWS
            "fd20:ce::/32",  # Google
        )
    ),
    *(
        (ip_network(block), "an IPv4 address inside an IPv6 address")
        for block in (
            "::ffff:0:0/96",  # IPv4-mapped
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",  # NAT64 of local use
            "2001::/32",  # Teredo
            "2002::/16",  # 6to4
            *map(
                str, summarize_address_range(IPv6Address("::2"), IPv6Address("::ffff:ffff"))
            ),  # IPv4-compatible
        )
    ),
)

_AUTHORITY = r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<user>[^/?#\\]*@)?{_AUTHORITY}(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?",
    re.IGNORECASE,
)
_ENDPOINT = re.compile(_AUTHORITY, re.IGNORECASE)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label starts with a letter, so 127.1, 0x7f000001 and 2130706433 are no names. They are no addresses
# either: only the canonical form is one.
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?=[a-z]){_LABEL}")


@dataclass(frozen=True)
class Target:
    scheme: str  # "https" or "http"
    host: str  # as the certificate names it: lower case, no brackets, no trailing dot
    port: int
    address: str  # the checked address to connect to
    path_and_query: str  # starts with "/"

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"https": 443, "http": 80}[self.scheme] else f"{host}:{self.port}"


def lookup(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name, IPv4 first: functions seldom have a route for IPv6. Raises SendFailed."""
    import threading
    from queue import Empty, SimpleQueue

    answers: SimpleQueue[list[str] | None] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in sorted(found, key=lambda e: e[0]))))
        except (OSError, UnicodeError):
            answers.put(None)

    # getaddrinfo knows no time limit, and a slow name server must not outlast the deadline of the delivery.
    threading.Thread(target=ask, daemon=True).start()
    try:
        addresses = answers.get(timeout=max(seconds, 0))
    except Empty:
        raise SendFailed(reason=f"the name {host} was not resolved within {seconds:.1f} s") from None
    if not addresses:
        raise SendFailed(reason=f"the name {host} has no address")
    return addresses


class Guard:
    """Decides which address a callback URL leads to, or refuses it.

    Without `allow`, only https on the ports 443 and 8443 to global addresses. An entry of `allow` is either
    `host:port` (that host of a URL, by any scheme, at any address) or a CIDR block (those addresses, by any
    scheme, on any port). Metadata services stay refused whatever `allow` says.
    Raises Invalid, naming CALLBACK_ALLOW, for an entry that is neither.
    """

    def __init__(self, allow: Sequence[str] = (), *, resolver: Resolver = lookup) -> None:
        self._resolver = resolver
        self._endpoints: set[tuple[str, int]] = set()
        self._networks: list[Network] = []
        for number, entry in enumerate(allow, 1):
            try:
                if "/" in entry:
                    self._networks.append(ip_network(entry))
                else:
                    self._endpoints.add(_endpoint(entry))
            except ValueError:
                problem = (
                    f"entry {number} is neither host:port nor a CIDR block such as 10.1.0.0/16 or fd12::/16"
                )
                raise Invalid(field="CALLBACK_ALLOW", problem=problem) from None

    def resolve(self, url: str, *, seconds: float = 5.0) -> Target:
        """Where to connect for this URL; its name is resolved within so many seconds, once.

        Raises AddressRefused, and SendFailed if the name has no address now. Neither tells path or query.
        """
        parsed = _URL.fullmatch(url) if re.fullmatch("[!-~]+", url) else None
        if parsed is None:
            raise AddressRefused(
                host="the callback URL",
                reason="it is not https://host/path in ASCII (write other letters as xn-- and %XX)",
            )
        if parsed["user"] is not None:
            raise AddressRefused(host="the callback URL", reason="it carries a user name or a password")
        scheme = parsed["scheme"].lower()
        try:
            host = _host(parsed["host"])
            port = _port(parsed["port"] or {"https": "443", "http": "80"}[scheme])
        except ValueError as problem:
            raise AddressRefused(host=parsed["host"], reason=str(problem)) from None
        literal = _literal(host)
        answers = (
            [ip_address(a) for a in self._resolver(host, port, seconds)] if literal is None else [literal]
        )
        if not answers:
            raise SendFailed(reason=f"the name {host} has no address")
        open_to = [(host, port) in self._endpoints or any(a in n for n in self._networks) for a in answers]
        if scheme != "https" and not all(open_to):
            raise AddressRefused(
                host=host, reason="only https is called (CALLBACK_ALLOW can name exceptions)"
            )
        if port not in PORTS and not all(open_to):
            raise AddressRefused(
                host=host,
                reason=f"port {port} is neither 443 nor 8443 (CALLBACK_ALLOW can name exceptions)",
            )
        for address, is_open in zip(answers, open_to, strict=True):
            _check(host, address, is_open)
        path = (parsed["path"] or "/") + (parsed["query"] or "")
        return Target(scheme, host, port, str(answers[0]), path)


def _check(host: str, address: Address, is_open: bool) -> None:
    for network, name in _NEVER:
        if address in network:
            raise AddressRefused(host=host, reason=f"its address {address} is {name}: never called")
    for network, name in () if is_open else _DENIED:
        if address in network:
            raise AddressRefused(host=host, reason=f"its address {address} is {name}")


def _endpoint(text: str) -> tuple[str, int]:
    parsed = _ENDPOINT.fullmatch(text)
    if parsed is None or parsed["port"] is None:
        raise ValueError("not host:port")
    return _host(parsed["host"]), _port(parsed["port"])


def _host(text: str) -> str:
    """Lower case, without brackets and trailing dot; an address in its canonical form."""
    if text.startswith("["):
        return str(IPv6Address(text[1:-1]))
    host = text.lower().removesuffix(".")
    if _literal(host) is None and not _NAME.fullmatch(host):
        raise ValueError("it is neither a host name nor an address in its canonical form")
    return host


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _port(text: str) -> int:
    if not 1 <= int(text) <= 65535:
        raise ValueError("its port is not within 1 and 65535")
    return int(text)
