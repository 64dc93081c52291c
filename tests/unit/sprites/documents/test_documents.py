from __future__ import annotations

from importlib import import_module

from lib.sprites.documents import ALL
from lib.sprites.documents.addresses import below
from tests.unit.sprites.documents.sprites import define, draw_sheet, sprite


def test_all_of_them_can_be_made_in_one_loop() -> None:
    made = sprite(define(), 1234)
    address = below("https://media.example/a")
    for name, document in ALL.items():
        data = document.render(made, address, lambda sheet: draw_sheet(made, sheet))
        assert isinstance(data, bytes)
        assert (b"https://media.example/a/sprite_1.jpg" in data) is (name not in ("bif", "dash")), name
    assert len({document.file for document in ALL.values()}) == len(ALL)


def test_they_are_what_their_modules_say() -> None:
    modules = {"vtt": "webvtt", "players": "snippets"}
    for name, document in ALL.items():
        module = import_module(f"lib.sprites.documents.{modules.get(name, name)}")
        assert document.content_type == module.CONTENT_TYPE
