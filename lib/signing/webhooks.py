"""Standard Webhooks signatures: what our callbacks carry, and how a receiver checks them.

The signed text is `id.timestamp.body`, HMAC-SHA256, `v1,<base64>`
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence

from lib.errors import BadSignature, Invalid, SignatureExpired, UnknownKey

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

# The specification forbids the full stop in an id: it separates the parts of the signed text.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_V1 = re.compile(r"v1,([A-Za-z0-9+/]{43}=)")


class Keyring:
    """The secrets in use, oldest to newest, each `whsec_` + base64 of 24 to 64 bytes.

    Raises Invalid, naming CALLBACK_KEYS and the number of the wrong key but nothing of the key itself.
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise Invalid(field="CALLBACK_KEYS", problem="there is no key in it")
        self._keys = tuple(_key(secret, number) for number, secret in enumerate(secrets, 1))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"Keyring(<{len(self)} masked>)"


def _key(secret: str, number: int) -> bytes:
    text = secret.removeprefix("whsec_")
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64 or secret != "whsec_" + b64encode(key).decode():
        problem = f"key {number} is not whsec_ followed by the base64 of 24 to 64 bytes"
        raise Invalid(field="CALLBACK_KEYS", problem=problem)
    return key


def sign(keys: Keyring, *, message_id: str, body: bytes, now: float) -> dict[str, str]:
    """The three headers of a message sent at `now` (UNIX seconds).

    One signature for each key, newest first, so that a receiver may change its secret at any time while both
    are here. Raises Invalid for an id that is not 1 to 256 letters, digits, `_` and `-`.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise Invalid(field=ID, problem="it is not 1 to 256 letters, digits, _ and -")
    timestamp = str(int(now))
    signatures = [_signature(key, message_id, timestamp, body) for key in reversed(list(keys))]
    return {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: " ".join(f"v1,{text}" for text in signatures)}


def verify(
    headers: Mapping[str, str], body: bytes, keys: Keyring, *, now: float, tolerance: float = 300.0
) -> str:
    """The id of a message that one of `keys` has signed within `tolerance` seconds before or after `now`.

    A message may come again within that time: the caller remembers ids for at least twice `tolerance`.
    Signatures of other versions are passed over. Raises BadSignature, SignatureExpired (the signature is
    genuine, its time is not now), UnknownKey (there is no signature of version 1), and nothing else.
    """
    message_id = _header(headers, ID, _MESSAGE_ID)
    timestamp = _header(headers, TIMESTAMP, _TIMESTAMP)
    listed = _header(headers, SIGNATURE, re.compile("[!-~ ]+")).split(" ")
    candidates = [match[1].encode() for match in map(_V1.fullmatch, listed) if match]
    if not candidates:
        raise UnknownKey(reason=f"{SIGNATURE} holds no signature of version 1")
    # The text is compared, not the bytes behind it: base64 has several spellings of the same 32 bytes.
    matches = [
        hmac.compare_digest(_signature(key, message_id, timestamp, body).encode(), candidate)
        for key in keys
        for candidate in candidates
    ]
    if not any(matches):
        raise BadSignature(reason="no signature matches")
    if abs(now - int(timestamp)) > tolerance:
        raise SignatureExpired(reason=f"{TIMESTAMP} is more than {tolerance:.0f} s away from now")
    return message_id


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    values = [value for key, value in headers.items() if key.lower() == name]
    if len(values) != 1:
        raise BadSignature(reason=f"there is not one {name} header but {len(values)}")
    if not isinstance(values[0], str) or not form.fullmatch(values[0]):
        raise BadSignature(reason=f"{name} is malformed")
    return values[0]
