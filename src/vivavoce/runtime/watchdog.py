"""Notices an engine that has work and says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .messages import Close, FromEngine, Lost, Open, Opened, Restore, Stepped, ToEngine
from .speech_messages import GoOn, Grant, Speak, Spoke


class Watchdog:
    """Counts the answers that are due, by stream, and calls `stalled` when none comes for that many seconds."""

    def __init__(self, seconds: float, stalled: Callable[[float], None]) -> None:
        self._seconds, self._stalled = seconds, stalled
        self._due = dict[int, int]()
        self._loop = asyncio.get_running_loop()
        self._since = 0.0  # when work was first due, or the newest answer came
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def sent(self, message: ToEngine) -> None:
        match message:
            case Open() | Restore() | Speak() | GoOn() | Grant():
                self.expect(message.stream)
            case Close():
                self._due.pop(message.stream, None)

    def expect(self, stream: int) -> None:
        """One more answer is due."""
        if not self._due:
            self._since = self._loop.time()
        self._due[stream] = self._due.get(stream, 0) + 1
        if self._timer is None and not self._stopped:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def heard(self, message: FromEngine) -> None:
        self._since = self._loop.time()
        match message:
            case Opened():
                self._answered(message.stream)
            case Stepped():
                for stream in message.streams:
                    self._answered(stream, message.frames)
            case Spoke():
                for stream in (*(said.stream for said in message.results), *message.starved):
                    self._answered(stream)
            case Lost():
                self._due.pop(message.stream, None)

    def due(self, stream: int) -> int:
        """Answers that have not come."""
        return self._due.get(stream, 0)

    def stop(self) -> None:
        self._stopped = True
        if self._timer:
            self._timer.cancel()

    def _answered(self, stream: int, answers: int = 1) -> None:
        if stream in self._due:  # not of one that has been closed
            self._due[stream] -= answers
            if not self._due[stream]:
                del self._due[stream]

    def _look(self) -> None:
        self._timer = None
        if not self._due:
            return
        left = self._since + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._stopped = True
            self._stalled(self._seconds)
