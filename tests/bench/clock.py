"""An event loop whose time passes only where somebody waits, and then at once; a stream that answers by a script."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Event, Flushed, VivavoceError

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits for something that will never happen"
            self.now += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Exact times, and no waiting."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(coroutine)


Answer = tuple[float, float, Event]


class Script:
    """Answers `(seconds of audio sent, delay, event)`: the event comes `delay` after so much had been sent.

    A flush is answered after `flush_delay`; None never answers.
    """

    def __init__(self, answers: list[Answer], flush_delay: float | None, takes: float = 0.0) -> None:
        self._answers, self._flush_delay, self._takes = answers, flush_delay, takes
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.sent: list[tuple[float, int]] = []  # when, samples
        self.heard = 0
        self._tasks = list[asyncio.Task[None]]()
        self._ended, self._pending = False, 0

    async def send(self, samples: NDArray[np.float32]) -> None:
        await asyncio.sleep(self._takes)
        self.sent.append((asyncio.get_running_loop().time(), len(samples)))
        before, self.heard = self.heard, self.heard + len(samples)
        for at, delay, event in self._answers:
            if before < at * 24_000 <= self.heard:
                self._later(delay, event)

    async def flush(self, id: int | str = 0) -> None:
        if self._flush_delay is not None:
            self._later(self._flush_delay, Flushed(id))

    async def end(self) -> None:
        self._ended = True

    def _later(self, delay: float, event: Event) -> None:
        async def say() -> None:
            await asyncio.sleep(delay)
            self._pending -= 1
            self._events.put_nowait(event)

        self._pending += 1
        self._tasks.append(asyncio.create_task(say()))

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._listen()

    async def _listen(self) -> AsyncIterator[Event]:
        while self._pending or not (self._ended and self._events.empty()) or self._flush_delay is None:
            yield await self._events.get()


class Dies(Script):
    """Refuses audio after so many messages."""

    def __init__(self, messages: int) -> None:
        super().__init__([], 0.1)
        self._left = messages

    async def send(self, samples: NDArray[np.float32]) -> None:
        self._left -= 1
        if self._left < 0:
            raise VivavoceError("the server has failed")
        await super().send(samples)
