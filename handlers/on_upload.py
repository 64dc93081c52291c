"""COS upload -> tasks. COS may merge several uploads into one event, and may send any of them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.app import app
from lib.validation import cos


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> list[dict[str, str]]:
    intake = app(context).upload(cos.parse(event))
    intake.raise_if_retry_helps()  # SCF can only repeat the whole event; repeats change nothing
    return intake.summary()
