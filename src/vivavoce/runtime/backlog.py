"""Events between the engine and whoever reads them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

from vivavoce.core import Fault, StreamError

E = TypeVar("E")


class Backlog(Generic[E]):
    """A stream's events, numbered from 1: at most `bound` unread and, where they are kept, as many read ones."""

    def __init__(self, bound: int, keep: bool) -> None:
        self._bound, self._keep = bound, keep
        self._events = deque[E]()
        self._first = 1  # number of the oldest event here
        self._next = 1  # number of the next one to be read
        self._changed = asyncio.Event()
        self._awaited = False  # whether the reader has read everything and waits
        self.consumer: Callable[[], bool] | None = None  # see `Handle.quick`
        self.closed = False
        self.error: StreamError | None = None  # why it was closed, unless the stream just ended
        self._moved = False  # the reader may know events of another server that are not told again here yet

    @property
    def position(self) -> int:
        """Number of the newest event that was read."""
        return self._next - 1

    @property
    def unread(self) -> int:
        return max(0, self._first + len(self._events) - self._next)

    @property
    def full(self) -> bool:
        """Whether the reader is too slow."""
        return self.unread > self._bound

    def extend(self, events: Iterable[E]) -> None:
        self._events.extend(events)
        self.wake()

    def close(self, error: StreamError | None = None) -> None:
        """No more events will come. Those unread can still be read, but for those of a reader that is too slow."""
        self.closed, self.error = True, error
        if error and error.fault is Fault.SLOW_READER:
            self._events.clear()
            self._first = self._next
        self.wake()

    def seek(self, after: int) -> None:
        """Read on behind the event of that number; StreamError(UNKNOWN_SESSION) when it is not here."""
        if not self._first - 1 <= after <= (after if self._moved else self.position):
            raise StreamError(
                Fault.UNKNOWN_SESSION,
                f"events {self._first} to {self.position} can be repeated, not what follows number {after}",
            )
        self._next = after + 1  # of a stream that moved perhaps ahead of what has been told here
        self._moved = False

    def contents(self) -> tuple[list[E], int]:
        """The events that are kept, and the number of the oldest."""
        return list(self._events), self._first

    def move_in(self, events: Iterable[E], first: int, read: int) -> None:
        """Go on with those of another server."""
        self._events.extend(events)
        self._first, self._next, self._moved = first, read + 1, True

    def take(self) -> E | None:
        """The next unread event, or None."""
        if not self.unread:
            return None
        event = self._events[self._next - self._first]
        self._next += 1
        self._forget()
        return event

    def take_unread(self) -> list[E]:
        """All that is unread."""
        events = list(self.waiting())
        self._next += len(events)
        self._forget()
        return events

    def waiting(self) -> Iterator[E]:
        """The unread ones, oldest first."""
        return islice(self._events, self._next - self._first, None)

    def drop(self) -> None:
        """What is unread never will be."""
        while self.unread:
            self._events.pop()

    def wake(self) -> None:
        """Let the reader look again, though nothing may have come."""
        if not (self._awaited and self.consumer and self.consumer()):
            self._changed.set()

    async def wait(self) -> None:
        """Until something may have changed."""
        self._awaited = True
        try:
            await self._changed.wait()
        finally:
            self._awaited = False
        self._changed.clear()

    def _forget(self) -> None:
        """Lets go of what was read, but for what may be repeated."""
        while self._events and self._first < self._next - (self._bound if self._keep else 0):
            self._events.popleft()
            self._first += 1
