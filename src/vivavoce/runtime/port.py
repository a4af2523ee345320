"""The main process's end of the line to one worker, of one engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from . import messages
from .message import Message
from .parcels import Parcels, head
from .shared_messages import Verdict

if TYPE_CHECKING:
    from .hub import Hub

log = logging.getLogger("vivavoce.runtime")
IN_THE_END = 0.1  # seconds


class Port(asyncio.Protocol):
    """What the hub knows of a worker: which streams it has in the engine, and which slots."""

    _transport: asyncio.Transport

    def __init__(self, hub: Hub, number: int, kill: Callable[[], None]) -> None:
        self.number, self._kill = number, kill
        self.streams = set[int]()  # that it has opened in the present engine
        self.slots = dict[int, int | None]()  # by the worker's key; None while it waits for one
        self.had_streams = False  # ever
        self.adopted = False  # it has been told of the present engine
        self.suspects = False  # it has streams that the last engine may have died of
        self.verdict: asyncio.Future[Verdict] | None = None  # due; until then it speaks to an engine that is gone
        self._hub, self._parcels = hub, Parcels()
        self._outbox = list[Message]()
        self._flushing: asyncio.Handle | None = None
        self._soon = False  # in this turn of the event loop
        self._loop = asyncio.get_running_loop()

    @property
    def used(self) -> int:
        """Slots that its streams have."""
        return sum(slot is not None for slot in self.slots.values())

    def send(self, message: Message, *, waits: bool = False) -> None:
        """All messages of one turn of the event loop travel together. One that `waits` goes with the next that does
        not, or IN_THE_END."""
        self._outbox.append(message)
        if waits and not self._flushing:
            self._flushing = self._loop.call_later(IN_THE_END, self._flush)
        elif not waits and not self._soon:
            if self._flushing:
                self._flushing.cancel()
            self._flushing, self._soon = self._loop.call_soon(self._flush), True

    def end(self) -> None:
        """The worker, too."""
        self.close()
        self._kill()

    def close(self) -> None:
        """At once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """For the event loop."""
        try:
            for parcel, audio in self._parcels.open(data):
                self._hub.receive(self, parcel, audio)
        except Exception:
            log.exception("Worker %d sent what cannot be taken; it is ended", self.number)
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """For the event loop."""
        self._hub.lost(self)

    def _flush(self) -> None:
        batch, self._outbox = self._outbox, []
        self._flushing, self._soon = None, False
        if not self._transport.is_closing():
            self._transport.write(head(messages.encode(batch)))
