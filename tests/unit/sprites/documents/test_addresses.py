from __future__ import annotations

import re
from urllib.parse import unquote, urljoin

import pytest
from hypothesis import given

from lib.errors import Invalid
from lib.sprites.documents import addresses, webvtt
from tests.unit.sprites.documents.sprites import NAMES, define, sprite


@given(NAMES)
def test_a_relative_name_stays_beside_the_document(name: str) -> None:
    url = addresses.checked(addresses.relative, f"{name}_0.jpg")
    assert "/" not in url
    assert unquote(url) == f"{name}_0.jpg"
    folder = "https://media.example/a/10"
    assert (
        urljoin(f"{folder}/thumbnails.vtt", url)
        == f"{folder}/{url}"
        == addresses.below(f"{folder}/")(f"{name}_0.jpg")
    )


@pytest.mark.parametrize("url", ["", "a b.jpg", "a.jpg#x", 'a".jpg', "a\n.jpg", "<a>", "é.jpg", "a\\b"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="address"):
        addresses.checked(lambda _: url, "sprite_0.jpg")


def test_an_index_names_its_sheets_by_the_addresses_it_is_given() -> None:
    made = sprite(define(), 1234)
    plain = webvtt.render(made)
    given = webvtt.render(made, lambda name: f"https://media.example/{name}?sign=a%2Fb&n=1")
    assert given == re.sub(r"(sprite_\d\.jpg)", r"https://media.example/\1?sign=a%2Fb&n=1", plain)
    with pytest.raises(Invalid, match="address"):
        webvtt.render(made, lambda name: f"https://media.example/{name}#t=1")
