"""How a document names its sheets: a relative name, an absolute URL or a presigned one."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from lib.errors import Invalid

Address = Callable[[str], str]
"""From the name of a sheet to the URL that a document gives for it."""
_URL = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")
"""The characters of a URL (RFC 3986, section 2) but `#`: a sheet is a whole file."""


def relative(name: str) -> str:
    """The name itself, percent-encoded: players resolve it against the URL of the document."""
    return quote(name, safe="")


def below(base_url: str) -> Address:
    """Absolute URLs of sheets in the folder with this URL."""
    base = base_url.rstrip("/")
    return lambda name: f"{base}/{quote(name, safe='')}"


def checked(address: Address, name: str) -> str:
    """Raises Invalid for an address that would break the documents it is written into."""
    url = address(name)
    if not _URL.fullmatch(url):
        problem = f"{name!r} has an address that is not a URL without a fragment; percent-encode it"
        raise Invalid(field="address", problem=problem)
    return url
