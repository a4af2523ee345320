"""Events on their way to the caller: in order, bounded, ended once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Event = TypeVar("Event")


class Inbox(Generic[Event]):
    """A queue that ends: what waits is still given, then every `next` raises the same."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Event] = deque()
        self._changed = asyncio.Condition()
        self.over = False
        self.error: Exception | None = None

    async def put(self, event: Event) -> None:
        """Waits while `limit` events are unread."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) < self._limit or self.over)
            self._waiting.append(event)
            self._changed.notify_all()

    async def room(self, most: int) -> None:
        """Waits while more than so many events are unread."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) <= most or self.over)

    async def drop(self, which: Callable[[Event], bool]) -> int:
        """Throw unread events away; how many."""
        async with self._changed:
            kept = [event for event in self._waiting if not which(event)]
            dropped = len(self._waiting) - len(kept)
            self._waiting = deque(kept)
            self._changed.notify_all()
            return dropped

    async def end(self, error: Exception | None = None) -> None:
        """No more events; ending twice is ending once."""
        async with self._changed:
            if not self.over:
                self.over, self.error = True, error
            self._changed.notify_all()

    async def next(self) -> Event:
        """The oldest event. Raises StopAsyncIteration, or the error, after the last one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self.over)
            if not self._waiting:
                raise self.error or StopAsyncIteration
            event = self._waiting.popleft()
            self._changed.notify_all()
            return event
