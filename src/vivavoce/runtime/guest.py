"""What the server keeps of a stream of any kind: it outlives engines and connections."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import time
from typing import Generic, TypeVar

from vivavoce.core import StreamError
from vivavoce.settings.limits import Limits

from .backlog import Backlog
from .messages import Close
from .patience import Patience
from .seam import Engine

E = TypeVar("E")


class Guest(ABC, Generic[E]):
    """One stream: who holds it, its slot, and the events that its reader has not read."""

    def __init__(
        self, id: str, limits: Limits, expired: Callable[[StreamError], None], *, resumable: bool, awaited: str
    ) -> None:
        self.id, self.resumable = id, resumable
        self.number: int | None = None  # on the line to the engine; another one whenever the stream enters one
        self.slot: int | None = None
        self.parked = False
        self.holder: object = None  # the caller's end that is in charge
        self.let_go: StreamError | None = None  # why the last one was taken from it, unless it went or another came
        self.steps = 0
        self.created = time()  # seconds since 1970
        self.begun = asyncio.get_running_loop().time()  # the first that came of the caller, once something has
        self.backlog = Backlog[E](limits.event_backlog, resumable)
        self.patience = Patience(limits, expired, awaited, lambda: self.behind)
        self._engine: Engine | None = None
        self._room = asyncio.Event()

    @property
    @abstractmethod
    def queued(self) -> int:
        """Samples that wait: for their step, or for their reader."""

    @property
    @abstractmethod
    def behind(self) -> bool:
        """Whether the caller waits for us, and is not idle though it says nothing."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the stream has ended and every event has been given."""

    # --- the caller's side ---

    async def room(self) -> None:
        """Until there may be room for more, or somebody else may hold the stream."""
        self._room.clear()
        await self._room.wait()

    def was_read(self) -> None:
        """The reader has taken an event."""

    def must_go_on(self) -> None:
        """Raises the fault for which the stream was ended."""
        if self.backlog.error:
            raise self.backlog.error

    def held_by(self, holder: object, let_go: StreamError | None = None) -> None:
        """From now on that one is in charge, or nobody; whoever waits at another end looks again, and is told why."""
        self.holder, self.let_go = holder, let_go
        self.backlog.consumer = None  # that of the end which was in charge before
        self.backlog.wake()
        self._room.set()

    def over(self, error: StreamError | None = None) -> None:
        """No more events will come, and nothing more is taken."""
        self.backlog.close(error)
        self._room.set()

    # --- the engine's side ---

    @abstractmethod
    def enter(self, engine: Engine, number: int, slot: int) -> None:
        """Begin, or go on where the newest answer left off: what was not answered is sent again."""

    def leave(self) -> None:
        """The slot is for others; what the engine still says of this stream is not for it."""
        self.step_out()
        self.slot = None

    def step_out(self) -> None:
        """Out of the engine; the slot is kept, and what was not answered is sent again when the stream comes back."""
        if self._engine and self.number is not None:
            self._engine.send(Close(self.number))
        self._engine = self.number = None

    def engine_lost(self) -> None:
        """The engine is gone; the slot is ours in the next one."""
        self._engine = self.number = None
