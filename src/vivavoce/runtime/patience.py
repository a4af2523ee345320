"""How long a stream may be silent, absent, or there at all."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from vivavoce.core import Fault, StreamError
from vivavoce.settings.limits import Limits


class Patience:
    """One timer a stream: calls `expired` with the reason when the first of its limits is passed."""

    def __init__(self, limits: Limits, expired: Callable[[StreamError], None], awaited: str) -> None:
        self._limits, self._awaited = limits, awaited
        self._expired: Callable[[StreamError], None] | None = expired
        self._loop = asyncio.get_running_loop()
        self._begun = self._heard = self._loop.time()
        self.left = math.inf  # when the connection was lost
        self._over = False  # the caller has said that no more will come
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def hear(self) -> None:
        """The caller is there."""
        self._heard = self._loop.time()

    def hold(self) -> None:
        """The caller waits for us: until `hear` it is not idle."""
        self._heard = math.inf

    def end(self) -> None:
        """Nothing more is expected of the caller."""
        self._over = True

    def leave(self) -> None:
        """The connection was lost."""
        self.left = self._loop.time()
        self._arm()

    def come_back(self) -> None:
        self.left = math.inf
        self.hear()
        self._arm()

    def stop(self) -> None:
        """For good; the stream, which `expired` knows, is let go of."""
        self._cancel()
        self._expired = None

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _limits_ahead(self) -> list[tuple[float, Fault, str]]:
        """When each limit is passed, in the loop's time; a limit of 0 is none."""
        limits, present = self._limits, self.left == math.inf
        listening = present and not self._over and limits.idle_seconds
        return [
            (self._heard + limits.idle_seconds if listening else math.inf, Fault.CLIENT_TIMEOUT,
             f"no {self._awaited} came for {limits.idle_seconds:g} s"),
            (self._begun + (limits.session_seconds or math.inf), Fault.SESSION_TIMEOUT,
             f"the session has lasted {limits.session_seconds:g} s, the longest there is"),
            (self.left + limits.resume_seconds, Fault.UNKNOWN_SESSION,
             f"the session was not resumed within {limits.resume_seconds:g} s"),
        ]  # fmt: skip

    def _arm(self) -> None:
        self._cancel()
        first = min(self._limits_ahead())[0]
        if self._heard == math.inf:  # looked at again, because nobody tells the timer when that ends
            first = min(first, self._loop.time() + self._limits.idle_seconds)
        if first < math.inf:
            self._timer = self._loop.call_at(first, self._look)

    def _look(self) -> None:
        assert self._expired, "the timer of a stream that is over went on"
        when, fault, detail = min(self._limits_ahead())
        if when <= self._loop.time():
            self._expired(StreamError(fault, detail))
        else:
            self._arm()
