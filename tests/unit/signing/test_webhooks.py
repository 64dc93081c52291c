"""Standard Webhooks: what we sign verifies elsewhere, what others sign verifies here, nothing else does."""

from __future__ import annotations

import hmac
import random
import time
from base64 import b64encode
from datetime import datetime, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from lib.errors import BadSignature, Invalid, SignatureExpired, UnknownKey
from lib.signing.webhooks import Keyring, sign, verify

NOW = 1_760_000_000.7
BODY = b'{"version":"4.0","eventType":"CreateImageSpriteComplete","data":{"status":0}}'
IDS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


def secret(key: bytes) -> str:
    return "whsec_" + b64encode(key).decode()


OLD, NEW, NEXT = (secret(bytes([n]) * 32) for n in (1, 2, 3))
KEYS = Keyring([OLD, NEW])


def signed(**changes: str) -> dict[str, str]:
    return {**sign(KEYS, message_id="event-1", body=BODY, now=NOW), **changes}


def test_the_example_of_the_specification_has_this_signature():
    # GIVEN the secret, message and signature of the reference libraries' own tests
    keys = Keyring(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    body = b'{"test": 2432232314}'
    headers = sign(keys, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", body=body, now=1614265330)
    # THEN we make the same headers
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_messages_verify_both_ways_for_every_size_of_key(share):
    # GIVEN messages of all shapes under keys of 24 to 64 bytes
    chance = random.Random(10)
    count = share(10_000, 500)
    for number in range(count):
        key = chance.randbytes(24 + number % 41)
        theirs, ours = Webhook(secret(key)), Keyring([secret(key)])
        message_id = "".join(chance.choices(IDS, k=chance.randint(1, 64)))
        text = "".join(
            chr(chance.choice((chance.randrange(32, 127), 0x4E2D, 0x1F3AC))) for _ in range(number % 97)
        )
        now = time.time()
        # THEN the reference library takes ours
        headers = sign(ours, message_id=message_id, body=text.encode(), now=now)
        theirs.verify(text.encode(), headers, json_parse=False)
        # AND we take what it signs
        foreign = theirs.sign(message_id, utc(now), text)
        headers = {**headers, "webhook-signature": foreign}
        assert verify(headers, text.encode(), ours, now=now) == message_id


def utc(now: float) -> datetime:
    return datetime.fromtimestamp(now, tz=timezone.utc)


def test_a_receiver_can_change_its_secret_at_any_time(share):
    # GIVEN three generations of the keyring; a new secret overlaps with the one before
    generations = [Keyring([OLD]), Keyring([OLD, NEW]), Keyring([NEW]), Keyring([NEW, NEXT]), Keyring([NEXT])]
    receivers = {0: OLD, 1: NEW, 2: NEW, 3: NEXT, 4: NEXT}  # changes while both are in the ring
    now = time.time()
    count = share(10_000, 500)
    for number in range(count):
        generation = number * len(generations) // count
        headers = sign(generations[generation], message_id=f"event-{number}", body=BODY, now=now)
        # THEN no message is lost, for a receiver with one secret or with the ring
        Webhook(receivers[generation]).verify(BODY, headers, json_parse=False)
        assert verify(headers, BODY, Keyring([receivers[generation]]), now=now) == f"event-{number}"
    # AND a removed secret is refused
    with pytest.raises(BadSignature):
        verify(headers, BODY, Keyring([OLD]), now=now)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY, headers, json_parse=False)


def test_the_newest_key_signs_first():
    newest, oldest = signed()["webhook-signature"].split(" ")
    assert newest == sign(Keyring([NEW]), message_id="event-1", body=BODY, now=NOW)["webhook-signature"]
    assert oldest == sign(Keyring([OLD]), message_id="event-1", body=BODY, now=NOW)["webhook-signature"]


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "UTC-8", "America/New_York", "UTC"])
def test_the_zone_of_the_machine_does_not_matter(zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        now = time.time()
        headers = sign(KEYS, message_id="event-1", body=BODY, now=now)
        Webhook(NEW).verify(BODY, headers, json_parse=False)
        assert verify(headers, BODY, KEYS, now=now) == "event-1"
        assert headers["webhook-timestamp"] == str(int(now))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_tolerance_holds_to_the_second_in_both_directions():
    headers = signed()
    sent = int(NOW)
    for offset in (-300, -299, 0, 299, 300):
        assert verify(headers, BODY, KEYS, now=sent + offset) == "event-1"
    for offset in (-(10**6), -301, 301, 10**6):
        with pytest.raises(SignatureExpired):
            verify(headers, BODY, KEYS, now=sent + offset)
    assert verify(headers, BODY, KEYS, now=sent + 5, tolerance=5) == "event-1"
    with pytest.raises(SignatureExpired):
        verify(headers, BODY, KEYS, now=sent + 6, tolerance=5)


def genuine(message_id: str, timestamp: str) -> dict[str, str]:
    """Headers that somebody with the key has made, whatever they say."""
    signed_text = f"{message_id}.{timestamp}.".encode() + BODY
    signature = b64encode(hmac.digest(bytes([2]) * 32, signed_text, "sha256")).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


@pytest.mark.parametrize(
    "spelling",
    [
        "{}.0",
        "{}.999",
        "{}e0",
        " {}",
        "{} ",
        "{}\n",
        "+{}",
        "-{}",
        "000{}",
        "1_{}",
        "１{}",
        "0x{}",
        "{},",
        "",
    ],
)
def test_a_time_has_one_form_even_under_a_genuine_signature(spelling):
    assert verify(genuine("event-1", str(int(NOW))), BODY, KEYS, now=NOW) == "event-1"
    with pytest.raises(BadSignature, match="webhook-timestamp is malformed"):
        verify(genuine("event-1", spelling.format(int(NOW))), BODY, KEYS, now=NOW)


@pytest.mark.parametrize("message_id", ["", "event.1", "event 1", "event-1\n", "é", "a" * 257])
def test_an_id_has_one_form_even_under_a_genuine_signature(message_id):
    with pytest.raises(BadSignature, match="webhook-id is malformed"):
        verify(genuine(message_id, str(int(NOW))), BODY, KEYS, now=NOW)


def test_every_key_of_the_ring_verifies():
    ring = Keyring([OLD, NEW, NEXT])
    for key in (OLD, NEW, NEXT):
        headers = sign(Keyring([key]), message_id="event-1", body=BODY, now=NOW)
        assert verify(headers, BODY, ring, now=NOW) == "event-1"


def test_single_bit_flips_are_refused(share):
    chance = random.Random(15)
    headers = signed(**{"webhook-signature": signed()["webhook-signature"].split(" ")[0]})
    accepted = 0
    for _ in range(share(10_000, 2_000)):
        part = chance.choice(["body", *headers])
        flipped = bytearray(BODY if part == "body" else headers[part].encode())
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        body = bytes(flipped) if part == "body" else BODY
        sent = headers if part == "body" else {**headers, part: flipped.decode("latin-1")}
        try:
            verify(sent, body, KEYS, now=NOW)
        except BadSignature:
            continue
        accepted += 1
    assert accepted == 0


def test_every_other_spelling_of_the_signature_is_refused():
    text = signed()["webhook-signature"].split(" ")[0]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    # the two bits of the last letter that carry nothing, no padding, more of it, other prefixes
    spellings = [text[:-2] + letter + "=" for letter in alphabet if letter != text[-2]]
    spellings += [
        text.rstrip("="),
        text + "=",
        text.replace("v1,", "V1,"),
        text.replace("v1,", "v1 ,"),
        text[3:],
    ]
    for spelling in spellings:
        with pytest.raises(BadSignature):
            verify(signed(**{"webhook-signature": spelling}), BODY, KEYS, now=NOW)


def test_signatures_of_other_versions_are_passed_over():
    ours = signed()["webhook-signature"]
    foreign = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    for listed in (f"{foreign} {ours}", f"{ours} {foreign}", f"v2,, {ours} v1, x", f"  {ours}  "):
        assert verify(signed(**{"webhook-signature": listed}), BODY, KEYS, now=NOW) == "event-1"
    with pytest.raises(UnknownKey):
        verify(signed(**{"webhook-signature": foreign}), BODY, KEYS, now=NOW)


def test_bodies_need_not_be_text():
    body = bytes(range(256))
    headers = sign(KEYS, message_id="event-1", body=body, now=NOW)
    assert verify(headers, body, KEYS, now=NOW) == "event-1"


def test_header_names_are_matched_in_any_case_and_only_once():
    headers = {name.title(): value for name, value in signed().items()}
    assert verify(headers, BODY, KEYS, now=NOW) == "event-1"
    with pytest.raises(BadSignature, match="not one webhook-id header but 2"):
        verify({**headers, "WEBHOOK-ID": "event-2"}, BODY, KEYS, now=NOW)
    for name in headers:
        with pytest.raises(BadSignature, match="not one webhook-"):
            verify({n: v for n, v in headers.items() if n != name}, BODY, KEYS, now=NOW)


NAMES = st.sampled_from(
    ["webhook-id", "Webhook-Id", "webhook-timestamp", "webhook-signature", "WEBHOOK-SIGNATURE"]
)
PIECES = st.sampled_from(
    ["v1,", "v1", ",", " ", "=", "A" * 43, "A" * 43 + "=", str(int(NOW)), "event-1", ".", "\x00"]
)
VALUES = st.text() | st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join) | st.just(str(int(NOW)))


@given(headers=st.dictionaries(NAMES | st.text(max_size=20), VALUES, max_size=6), body=st.binary(max_size=50))
@example(headers=signed(**{"webhook-signature": "v1,\udcff"}), body=BODY)
@example(headers=signed(**{"webhook-timestamp": "9" * 5000}), body=BODY)
def test_hostile_headers_raise_bad_signature_and_nothing_else(headers, body):
    with pytest.raises(BadSignature):
        verify(headers, body, KEYS, now=NOW)


def test_hostile_messages_raise_bad_signature_and_nothing_else(share):
    # GIVEN genuine messages with any of their parts replaced, cut, doubled or sprinkled with odd letters
    chance = random.Random(11)
    whole = signed()
    odd = [
        "",
        " ",
        ",",
        "v1,",
        "v1,é",
        "v1,\ud800",
        "=" * 44,
        "\x00",
        "\n",
        "NaN",
        "inf",
        "1e9",
        "-1",
        "９",
        "%s",
        "." * 9,
    ]
    refused, count = 0, share(100_000, 5_000)
    for _ in range(count):
        headers, body = dict(whole), chance.randbytes(chance.randrange(40))
        for name in chance.sample(sorted(headers), chance.randint(1, 3)):
            value, at = headers[name], chance.randrange(len(headers[name]))
            sprinkled = chance.choice([*odd, chr(chance.randrange(0x110000))])
            replaced = [sprinkled, value[:at], value[:at] + sprinkled + value[at:], value * 2]
            headers[name] = chance.choice([*replaced, chance.randbytes(at).decode("latin-1")])
        with pytest.raises(BadSignature):
            verify(headers, body, KEYS, now=NOW)
        refused += 1
    assert refused == count


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\n", "é", "a" * 257])
def test_an_id_that_could_be_taken_for_another_is_not_signed(message_id):
    with pytest.raises(Invalid, match="webhook-id"):
        sign(KEYS, message_id=message_id, body=BODY, now=NOW)


WRONG = [
    secret(b"canary-0123456789-01234"),
    secret(b"canary" * 11),
    "canary-not-a-secret",
    "whsec_",
    OLD.removeprefix("whsec_"),
    OLD.replace("whsec_", "whsk_"),
    OLD + "=",
    OLD + "\n",
    OLD.rstrip("="),
    OLD[:-2] + "\u00e9=",
    "whsec_canarycanarycanarycanarycanarycanary-_-_",
    "",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_key_is_named_by_its_number_and_not_shown(wrong):
    with pytest.raises(Invalid) as error:
        Keyring([OLD, wrong])
    assert str(error.value) == ("CALLBACK_KEYS: key 2 is not whsec_ followed by the base64 of 24 to 64 bytes")
    assert error.value.__cause__ is None


def test_a_keyring_needs_a_key():
    with pytest.raises(Invalid, match="no key"):
        Keyring([])


def test_a_keyring_does_not_show_its_keys():
    ring = Keyring([secret(b"canary-canary-canary-canary")])
    for shown in (repr(ring), str(ring), f"{ring}"):
        assert shown == "Keyring(<1 masked>)"
