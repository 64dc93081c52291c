"""The README says what the code does."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lib.__main__ import _parser
from lib.errors import FAILURES
from lib.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if isinstance(value, Enum):
        value = value.value
    return f"`{value}`" if value not in ("", None) else "-"


def settings_table() -> str:
    rows = [
        f"| `{name}` | {shown(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def test_the_table_of_settings_is_the_model():
    assert settings_table() in README, f"put this into README.md:\n\n{settings_table()}"


def test_the_env_example_names_known_settings_only():
    text = (ROOT / ".env.example").read_text("utf-8")
    for name in re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE):
        assert name in Settings.model_fields or name.startswith("TENCENTCLOUD_"), name


def test_every_command_and_option_is_there():
    commands = _parser()._subparsers._group_actions[0].choices
    for name, command in commands.items():
        assert re.search(rf"python -m lib [^|\n]*\b{name}\b|`{name}`", README), name
        if name == "sprite":
            for action in command._actions:
                for option in action.option_strings:
                    assert option in README or option in ("-h", "--help"), option


def test_every_make_target_is_there():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE):
        if target not in ("help", "setup", "clean"):
            assert f"make {target}" in README, target


def test_every_failure_is_there_with_its_status():
    for outcome, kind in FAILURES.items():
        assert re.search(rf"\| `{outcome}` \| {kind.status} \|", README), outcome


def test_every_exit_code_is_there():
    import lib.__main__ as main

    for name in ("DONE", "FAILED", "WRONG_USE", "NO_SPRITE", "UNREACHABLE", "INTERRUPTED"):
        assert f"| {getattr(main, name)} | " in README
