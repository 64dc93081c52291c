"""The engine can be lifted out, and importing it is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SPRITES = Path(__file__).parents[3] / "lib" / "sprites"


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


@pytest.mark.parametrize("path", sorted(SPRITES.rglob("*.py")), ids=lambda path: path.stem)
def test_it_imports_nothing_of_ours_but_errors(path: Path) -> None:
    ours = {
        name for name in imported(ast.parse(path.read_text())) if name.split(".")[0] in ("lib", "handlers")
    }
    foreign = {name for name in ours if not name.startswith(("lib.errors", "lib.sprites")) and name != "lib"}
    assert not foreign


def test_importing_it_loads_neither_ffmpeg_nor_pillow() -> None:
    script = (
        "import sys, lib.sprites, lib.sprites.documents.webvtt\n"
        "lib.sprites.PRESET_10.to_dict()\n"
        "print(sorted({'av', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=SPRITES.parents[1]
    )
    assert run.stdout.strip() == "[]"
