"""Invocations on one machine: the platform's own address takes them (lib/local/platform.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib.errors import InvocationFailed, Throttled


class LocalInvoker:
    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def invoke(self, function: str, payload: Mapping[str, Any]) -> None:
        import urllib3

        with urllib3.PoolManager(retries=False, timeout=5.0) as pool:
            try:
                answer = pool.request("POST", f"{self._url}/{function}", json=dict(payload))
            except urllib3.exceptions.HTTPError as error:
                raise InvocationFailed(function=function, reason=type(error).__name__) from error
        if answer.status in (429, 432):
            raise Throttled(function=function, reason=f"the platform answered {answer.status}")
        if answer.status != 202:
            raise InvocationFailed(function=function, reason=f"the platform answered {answer.status}")
