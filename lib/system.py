"""The machine's own time and chance; tests pass others."""

from __future__ import annotations

import random
import secrets
import time


class SystemClock:
    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class SystemChance:
    """Ids that cannot be guessed, and jitter."""

    def hex(self) -> str:
        """32 hexadecimal digits."""
        return secrets.token_hex(16)

    def decimal(self) -> str:
        """A `fileId`: 19 decimal digits, like Tencent's; it may exceed 2^63."""
        return str(10**18 + secrets.randbelow(9 * 10**18))

    def jitter(self) -> float:
        """A factor around 1."""
        return random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, guards nothing
