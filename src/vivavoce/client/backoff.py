"""How long to wait before the next attempt: exponential, with jitter, never less than the server asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST, LONGEST = 0.25, 10.0  # seconds


@dataclass
class Backoff:
    """`next()` before each attempt; `reset()` when one has worked."""

    draw: Callable[[], float] = field(default=random.random)
    attempts: int = 0

    def next(self, retry_after: float | None = None) -> float:
        """Seconds to wait: half to whole of 0.25, 0.5, 1 … 10 s, on top of what the server asked for."""
        span = min(LONGEST, FIRST * 2 ** min(self.attempts, 16))
        self.attempts += 1
        wait = span * (0.5 + 0.5 * self.draw())
        return wait if retry_after is None else retry_after + wait

    def reset(self) -> None:
        self.attempts = 0
