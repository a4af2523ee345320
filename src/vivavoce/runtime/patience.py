"""How long a stream may be silent, absent, or there at all."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from operator import itemgetter

from vivavoce.core import Fault, StreamError
from vivavoce.settings.limits import Limits


class Patience:
    """One timer a stream: calls `expired` with the reason when the first of its limits is passed."""

    def __init__(
        self, limits: Limits, expired: Callable[[StreamError], None], awaited: str, waits: Callable[[], bool]
    ) -> None:
        """`awaited` is what keeps the stream; `waits`, whether the caller waits for us: it is not idle then."""
        self._limits = limits
        self._idle_seconds = limits.idle_seconds
        self._idle = StreamError(Fault.CLIENT_TIMEOUT, f"no {awaited} came for {limits.idle_seconds:g} s")
        self._expired: Callable[[StreamError], None] | None = expired
        self._waits: Callable[[], bool] | None = waits
        self._loop = asyncio.get_running_loop()
        self._begun = self._heard = self._loop.time()
        self.left = math.inf  # when the connection was lost
        self._over = False  # the caller has said that no more will come
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def hear(self) -> None:
        """The caller is there."""
        self._heard = self._loop.time()

    def idle_after(self, seconds: float, told: StreamError) -> None:
        """The caller may be silent for so long, 0 for ever, instead of as the limits have it; what it is told then."""
        self._idle_seconds, self._idle = seconds, told
        self._arm()

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
        """For good; the stream, which both know, is let go of."""
        self._cancel()
        self._expired = self._waits = None

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _first(self) -> tuple[float, StreamError]:
        """The limit that is passed first: when, in the loop's time, and the reason; a limit of 0 is none."""
        limits = self._limits
        listening = self.left == math.inf and not self._over and self._idle_seconds
        lasted = f"the session has lasted {limits.session_seconds:g} s, the longest there is"
        stayed_away = f"the session was not resumed within {limits.resume_seconds:g} s"
        ahead = [
            (self._heard + self._idle_seconds if listening else math.inf, self._idle),
            (self._begun + (limits.session_seconds or math.inf), StreamError(Fault.SESSION_TIMEOUT, lasted)),
            (self.left + limits.resume_seconds, StreamError(Fault.UNKNOWN_SESSION, stayed_away)),
        ]
        return min(ahead, key=itemgetter(0))

    def _arm(self) -> None:
        self._cancel()
        if (first := self._first()[0]) < math.inf:
            self._timer = self._loop.call_at(first, self._look)

    def _look(self) -> None:
        assert self._expired and self._waits, "the timer of a stream that is over went on"
        if self._waits():
            self.hear()
        when, why = self._first()
        if when <= self._loop.time():
            self._expired(why)
        else:
            self._arm()
