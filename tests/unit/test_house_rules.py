"""Who may know whom, held by a walk over the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADAPTERS = ("lib.db", "lib.storage", "lib.engines", "lib.invokers")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules("handlers"), ids=place)
def test_a_handler_knows_the_app_and_validation_only_and_is_short(path):
    for name in imports(path):
        assert (
            not is_of(name, "lib") or name == "lib" or is_of(name, "lib.app") or is_of(name, "lib.validation")
        ), name
    assert len(path.read_text("utf-8").splitlines()) <= 25


@pytest.mark.parametrize("path", modules("lib"), ids=place)
def test_lib_never_knows_the_handlers(path):
    assert not any(is_of(name, "handlers") for name in imports(path))


@pytest.mark.parametrize("path", modules("lib"), ids=place)
def test_only_the_composition_root_names_adapters(path):
    inside = [
        package for package in ADAPTERS if is_of(place(path).removesuffix(".py").replace("/", "."), package)
    ]
    if place(path) == "lib/app.py":
        return
    for name in imports(path):
        for package in ADAPTERS:
            assert not is_of(name, package) or package in inside, f"imports {name}"


@pytest.mark.parametrize("path", modules("lib"), ids=place)
def test_only_settings_reads_the_environment(path):
    if place(path) in ("lib/settings.py", "lib/app.py") or place(path).startswith("lib/local/"):
        return
    text = path.read_text("utf-8")
    # The decoder's client hands on where libraries are found, and nothing else.
    assert "os.environ" not in text or place(path) == "lib/sprites/decoder/client.py"
    assert "getenv" not in text


def test_sprites_can_be_lifted_out():
    for path in modules("lib/sprites"):
        for name in imports(path):
            assert not is_of(name, "lib") or is_of(name, "lib.sprites") or is_of(name, "lib.errors"), (
                f"{path}: {name}"
            )
