"""What one stream has said and heard, over all of its connections."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from vivavoce import core
from vivavoce.core import StreamError, seconds

from .backlog import Backlog
from .events import ClientEvent, Connected, Gap, ServerError
from .inbox import Inbox
from .wire import Ack, Finished, Problem, Ready, Signal, Wire


class Talk:
    """The state that the caller's side and the connection's side of a stream share."""

    def __init__(self, wire: Wire, inbox: Inbox[ClientEvent]) -> None:
        self.wire, self.inbox = wire, inbox
        self.backlog = Backlog(keeps=wire.keeps)
        self.session: str | None = None
        self.model: str | None = None
        self.said: StreamError | None = None  # the server's last error message on this connection
        self.heard = 0.0  # seconds of the caller's clock up to which the server has told something
        self.progress = False  # something was told since the last failure
        self.finished = False
        self.connections = 0
        self._known = 0  # samples of the session that the server had when it was last resumed
        self.to_send = asyncio.Event()
        self.taken = asyncio.Event()  # audio was sent or acknowledged, or the stream is over

    async def connected(self, url: str, dialect: str, ready: Ready | None) -> None:
        """A connection stands; `ready` is the server's first message, if that is what it was."""
        self.said, resumed = None, self.session is not None
        if resumed and ready is not None:
            self.progress = ready.samples > self._known
            self._known = ready.samples
            if lost := self.backlog.rewind(ready.samples, ready.flushes, ready.ended):
                start = self.backlog.clock.caller(seconds(ready.samples))
                await self.inbox.put(Gap(start, start + seconds(lost)))
        elif self.connections:
            await self._begin_again()
        if ready is not None:
            self.session, self.model = ready.session if self.wire.keeps else None, ready.model
        self.connections += 1
        await self.inbox.put(Connected(url, dialect, self.session, self.model, resumed))

    async def _begin_again(self) -> None:
        """The old session is gone: another one goes on with what was not sent, later on the caller's clock."""
        for event in self.wire.closing(seconds(self.backlog.position)):
            await self.hear(event)
        self.wire.begin()
        self._known = 0
        begins = seconds(self.backlog.restart(round(self.heard * core.SAMPLE_RATE)))
        if begins > self.heard:
            await self.inbox.put(Gap(self.heard, begins))

    async def hear(self, said: core.Event | Signal) -> None:
        """One thing that the server told."""
        match said:
            case Ready():
                self.model = said.model or self.model
                if self.wire.keeps:
                    self.session = said.session or self.session
            case Ack(samples):
                self.backlog.acknowledge(samples)
                self.progress = True
                self.taken.set()
            case Problem(error):
                self.said = error
                await self.inbox.put(ServerError(error.fault, str(error)))
            case Finished():
                await self.finish()
            case _:
                await self._tell(said)

    async def finish(self) -> None:
        """The server has said everything."""
        if not self.finished:
            self.finished = True
            for event in self.wire.closing(seconds(self.backlog.position)):
                await self._tell(event)

    async def _tell(self, event: core.Event) -> None:
        self.progress = True
        if isinstance(event, core.Flushed):
            self.backlog.answered(event.id)
        event = self._on_the_callers_clock(event)
        self.heard = max(self.heard, _until(event))
        await self.inbox.put(event)

    def _on_the_callers_clock(self, event: core.Event) -> core.Event:
        at = self.backlog.clock.caller
        match event:
            case core.Token() | core.WordStarted():
                return replace(event, start=at(event.start))
            case core.WordEnded(word) | core.WordDropped(word):
                return replace(event, word=replace(word, start=at(word.start), stop=at(word.stop)))
            case core.Vad() | core.TurnStarted() | core.TurnEnded() | core.TurnResumed() | core.Healed():
                return replace(event, time=at(event.time))
        return event


def _until(event: core.Event) -> float:
    if isinstance(event, core.WordEnded | core.WordDropped):
        return event.word.stop
    return event.time if isinstance(event, core.Vad | core.TurnEnded) else 0.0
