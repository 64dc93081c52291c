"""Every minute: start what waits, retry, deliver, sweep, purge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lib.app import app


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, int]:
    return asdict(app(context).tick())
