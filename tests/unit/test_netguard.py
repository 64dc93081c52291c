"""Nothing but the public internet, unless CALLBACK_ALLOW says so, and metadata services never."""

from __future__ import annotations

import random
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ssrfguard import DEFAULT_DENIED as ORACLE

from lib.errors import AddressRefused, Invalid, SendFailed
from lib.netguard import Guard, Target, lookup


def words(text: str) -> list[str]:
    return text.split()


# Addresses that guards of other products let through, or that only is_global takes for public ones.
MUST_NOT_REACH = words("""
    192.0.0.8 192.88.99.1 224.0.0.1 239.255.255.255 64:ff9b::7f00:1 64:ff9b::a9fe:17 64:ff9b:1::7f00:1
    2002:7f00:1:: 2002:a00:1:: fec0::1 ff02::1 3fff::1 5f00::1 ::7f00:1 ::127.0.0.1
    0.0.0.0 10.0.0.1 100.64.0.1 100.127.255.254 127.0.0.1 169.254.0.23 169.254.169.254 172.16.0.1 192.0.2.1
    192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 240.0.0.1 255.255.255.255 :: ::1
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.0.23 2001::1 100::1 fc00::1 fd00::1 fe80::1 2001:db8::1
    2001:0:7f00:1::
""")

# https://www.iana.org/assignments/iana-ipv4-special-registry, iana-ipv6-special-registry, multicast and
# site-local space.
SPECIAL_BLOCKS = words("""
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24
    192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24
    198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32
    ::1/128 ::/128 ::/96 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23
    2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48
    2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16
    fc00::/7 fe80::/10 fec0::/10 ff00::/8
""")
GLOBAL_UNICAST = ip_network("2000::/3")

METADATA = words("""
    169.254.0.23 169.254.169.254 169.254.0.0 169.254.255.255 100.100.100.200 fd00:ec2::254 fe80::a9fe:a9fe
    ::ffff:169.254.0.23 ::ffff:169.254.169.254 ::169.254.0.23 64:ff9b::169.254.0.23 64:ff9b:1::a9fe:17
    64:ff9b:1:ffff::a9fe:17     2002:a9fe:17:: 2001:0:a9fe:17:: ::ffff:0:169.254.0.23
""")


PUBLIC = "93.184.215.14"


def answering(*addresses: str) -> Guard:
    return Guard(resolver=lambda host, port, seconds: addresses)


def url_of(address: str) -> str:
    return f"https://[{address}]/" if ":" in address else f"https://{address}/"


def is_refused(guard: Guard, url: str) -> bool:
    try:
        guard.resolve(url)
    except AddressRefused:
        return True
    return False


def test_the_list_is_the_known_one():
    assert len(set(MUST_NOT_REACH)) == 42


@pytest.mark.parametrize("address", MUST_NOT_REACH)
def test_an_internal_address_is_refused_as_an_answer_and_as_a_literal(address):
    assert is_refused(answering(address), "https://backend.example/")
    assert is_refused(Guard(), url_of(address))


@pytest.mark.parametrize("block", SPECIAL_BLOCKS)
def test_special_blocks_are_refused_to_their_edges_and_not_beyond(block):
    network = ip_network(block)
    for address in (network[0], network[-1]):
        assert is_refused(answering(str(address)), "https://backend.example/"), address
    for outside in (int(network[0]) - 1, int(network[-1]) + 1):
        if not 0 <= outside < 1 << network.max_prefixlen:
            continue
        neighbour = type(network[0])(outside)
        refused = is_refused(answering(str(neighbour)), "https://backend.example/")
        assert refused == is_special(neighbour), neighbour


def is_special(address: IPv4Address | IPv6Address) -> bool:
    listed = any(address in ip_network(block) for block in SPECIAL_BLOCKS)
    return listed or (address.version == 6 and address not in GLOBAL_UNICAST)


def test_public_addresses_are_reached_and_the_oracle_agrees(share):
    # GIVEN addresses from all over both protocols
    chance = random.Random(7)
    drawn = [IPv4Address(chance.getrandbits(32)) for _ in range(share(20_000, 1_000))]
    drawn += [IPv6Address((1 << 125) | chance.getrandbits(125)) for _ in range(share(20_000, 1_000))]
    public = [address for address in drawn if not ORACLE.classify(address).blocked]
    assert len(public) >= 1_000
    # THEN no public one is refused, and none that the oracle blocks is reached
    for address in drawn:
        expected = ORACLE.classify(address).blocked or is_special(address)
        assert is_refused(answering(str(address)), "https://backend.example/") == expected, address


@given(st.ip_addresses())
def test_nothing_that_the_oracle_blocks_is_reached(address):
    if ORACLE.classify(address).blocked:
        assert is_refused(answering(str(address)), "https://backend.example/")


@pytest.mark.parametrize("address", METADATA)
def test_metadata_services_stay_refused_whatever_is_allowed(address):
    everything = ["0.0.0.0/0", "::/0", "backend.example:443"]
    guard = Guard(everything, resolver=lambda host, port, seconds: [address])
    with pytest.raises(AddressRefused, match="never called"):
        guard.resolve("https://backend.example/")
    literal = f"[{address}]:80" if ":" in address else f"{address}:80"
    with pytest.raises(AddressRefused, match="never called"):
        Guard([*everything, literal]).resolve(f"http://{literal}/")


@pytest.mark.parametrize(
    "host",
    [
        "0x7f000001",
        "0x7f.0.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "127.000.000.001",
        "0xa9fe0017",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "１２７.0.0.1",
        "%31%32%37.0.0.1",
        "[::ffff:7f00:1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[::1%25lo]",
        "[::]",
        "0",
        "localhost",
        "LOCALHOST.",
        "bücher.example",
        "user:secret@backend.example",
        "backend.example@127.0.0.1",
        "backend.example\\@127.0.0.1",
        "127.0.0.1#@backend.example",
        "127.0.0.1?@backend.example",
        "backend.example\t",
        "backend.example\r\nX: y",
        "",
        ":443",
        "-",
        "a" * 64 + ".example",
        "a." * 127 + "example",
    ],
)
def test_no_spelling_of_an_internal_host_gets_through(host):
    # GIVEN the real resolver, which takes many of these for 127.0.0.1
    with pytest.raises(AddressRefused) as refusal:
        Guard().resolve(f"https://{host}/hook?token=opensesame")
    # THEN the refusal tells neither the query nor a password
    assert "opensesame" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_a_refusal(text):
    guard = answering(PUBLIC)
    for url in (text, f"https://{text}", f"https://backend.example/{text}"):
        try:
            target = guard.resolve(url)
        except AddressRefused:
            continue
        assert target.scheme == "https"
        assert target.path_and_query.isascii()
        assert target.path_and_query.isprintable()
        assert " " not in target.path_and_query


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://Backend.Example", Target("https", "backend.example", 443, PUBLIC, "/")),
        (
            "HTTPS://backend.example.:8443/a%20b?c=/d?e#f",
            Target("https", "backend.example", 8443, PUBLIC, "/a%20b?c=/d?e"),
        ),
        ("https://backend.example?x", Target("https", "backend.example", 443, PUBLIC, "/?x")),
        ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, PUBLIC, "/")),
        ("https://8.8.8.8/", Target("https", "8.8.8.8", 443, "8.8.8.8", "/")),
        ("https://[2606:4700::0001]:8443/", Target("https", "2606:4700::1", 8443, "2606:4700::1", "/")),
    ],
)
def test_a_target_names_all_that_a_sender_needs(url, target):
    assert answering(PUBLIC).resolve(url) == target


def test_the_authority_leaves_out_the_usual_port():
    guard = answering(PUBLIC)
    assert guard.resolve("https://backend.example:443/").authority == "backend.example"
    assert guard.resolve("https://backend.example:8443/").authority == "backend.example:8443"
    assert guard.resolve("https://[2606:4700::1]:8443/").authority == "[2606:4700::1]:8443"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://backend.example/", "only https"),
        ("ftp://backend.example/", "not https"),
        ("https://backend.example:22/", "port 22"),
        ("https://backend.example:0/", "port"),
        ("https://backend.example:65536/", "port"),
        ("https://backend.example:443:80/", "not https"),
        ("//backend.example/", "not https"),
        ("https://me@backend.example/", "user name"),
    ],
)
def test_other_schemes_ports_and_user_names_are_refused(url, reason):
    with pytest.raises(AddressRefused, match=reason):
        answering(PUBLIC).resolve(url)


def test_one_internal_answer_among_public_ones_refuses_all():
    for answers in ((PUBLIC, "10.0.0.1"), ("10.0.0.1", PUBLIC), ("2606:4700::1", "::1")):
        assert is_refused(answering(*answers), "https://backend.example/")


def test_a_name_that_changes_its_answer_is_resolved_once():
    # GIVEN a name server that answers with a public address first and an internal one ever after
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    guard = Guard(resolver=lambda host, port, seconds: next(answers))
    # THEN the target is the address that was checked
    assert guard.resolve("https://backend.example/").address == PUBLIC
    # AND the next callback is checked anew
    assert is_refused(guard, "https://backend.example/")


def test_an_allowed_endpoint_may_be_private_and_http():
    guard = Guard(["receiver.internal:8080", "[::1]:9000"], resolver=lambda *_: ["10.1.2.3"])
    assert guard.resolve("http://Receiver.internal:8080/a").address == "10.1.2.3"
    assert guard.resolve("https://receiver.internal:8080/a").address == "10.1.2.3"
    assert guard.resolve("http://[0::1]:9000/").address == "::1"
    # AND nothing else is: another port, another name of the same address
    for url in ("http://receiver.internal/", "https://receiver.internal/", "http://other.internal:8080/"):
        assert is_refused(guard, url)


def test_an_allowed_block_may_be_private_and_http_and_on_any_port():
    hosts = {"a": ["10.1.0.1"], "b": ["10.2.0.1"], "c": ["10.1.0.1", PUBLIC], "d": ["fd12::1"]}
    guard = Guard(["10.1.0.0/16", "fd12::/16"], resolver=lambda host, *_: hosts[host])
    assert guard.resolve("http://a:8080/").address == "10.1.0.1"
    assert guard.resolve("https://d:9/").address == "fd12::1"
    assert guard.resolve("http://10.1.255.255/").address == "10.1.255.255"
    assert is_refused(guard, "https://b/")
    # an exception for one answer is none for the other: no plain http to the public one
    assert is_refused(guard, "http://c:8443/")
    assert is_refused(guard, "https://c:9/")
    assert guard.resolve("https://c/").address == "10.1.0.1"


@pytest.mark.parametrize(
    "entry",
    [
        *words("host host: :80 host:0 host:65536 host:80:80 ::1:80 [host]:80 *:80 127.1:80 0x7f000001:80"),
        *words("10.0.0.1 10.0.0.1/8 10.0.0.0/33 http://host:80/?token=opensesame"),
        *("", " host:80", "host:80\n"),
    ],
)
def test_a_wrong_entry_is_named_by_its_number(entry):
    with pytest.raises(Invalid, match=r"CALLBACK_ALLOW: entry 2 is neither host:port nor") as error:
        Guard(["localhost:80", entry])
    assert "opensesame" not in str(error.value)


def test_a_name_without_an_address_may_have_one_later():
    with pytest.raises(SendFailed, match=r"backend\.example has no address"):
        answering().resolve("https://backend.example/")
    with pytest.raises(SendFailed, match=r"a\.\.b has no address"):
        lookup("a..b", 443, 5)  # a name that no resolver takes


def test_lookup_gives_every_address_once_ipv4_first():
    addresses = lookup("localhost", 443, 5)
    assert addresses[0] == "127.0.0.1"
    assert len(addresses) == len(set(addresses))
    assert {str(ip_address(a)) for a in addresses} <= {"127.0.0.1", "::1"}


def test_a_silent_name_server_does_not_outlast_the_deadline(monkeypatch):
    # GIVEN a resolver of the system that never answers
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(60) and [])
    # THEN the callback fails while it still waits
    with pytest.raises(SendFailed, match="not resolved within"):
        Guard().resolve("https://backend.example/", seconds=0.05)
    assert not release.is_set()
    release.set()
