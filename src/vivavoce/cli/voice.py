"""Who speaks: a model in this process, or a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Any, Protocol

from vivavoce.core import FRAME_SECONDS, Flush, SpeechEvent

if TYPE_CHECKING:
    from vivavoce.client.services import Service
    from vivavoce.synthesizer import Synthesizer

    from .texts import Pieces

UNHEARD = round(30 / FRAME_SECONDS)  # events that the model is ahead of whoever takes them


class Voice(Protocol):
    """Text to events; once or again and again."""

    model: str | None  # its name, where known
    name: str | None  # of the voice, where known

    def speak(self, texts: Pieces) -> AsyncIterator[SpeechEvent]:
        """Everything that a text gives, as it is known, while the text comes."""


class ServerVoice:
    """A server's; a connection for each text."""

    def __init__(self, service: Service, voice: Any, manner: dict[str, Any]) -> None:
        self.model: str | None = None
        self.name = voice if isinstance(voice, str) else None
        self._service, self._manner = service, {"voice": voice, **manner}

    async def speak(self, texts: Pieces) -> AsyncIterator[SpeechEvent]:
        from vivavoce.client import connect_tts, spoken

        opened = {name: value for name, value in self._service.options().items() if name != "dialect"}
        async with connect_tts(self._service.url, **self._manner, **opened) as stream:
            async for event in spoken(stream, texts):
                yield event


class LocalVoice:
    """A model in this process; it works in a thread, as far ahead as UNHEARD."""

    def __init__(self, synthesizer: Synthesizer, voice: str | None, manner: dict[str, Any]) -> None:
        self.model: str | None = synthesizer.name
        self.name = voice or synthesizer.voice
        self._synthesizer, self._manner = synthesizer, {"voice": voice, **manner}

    async def speak(self, texts: Pieces) -> AsyncIterator[SpeechEvent]:
        work = _Work(asyncio.get_running_loop(), texts)
        stream = self._synthesizer.stream(work.texts(), **self._manner)
        thread = Thread(target=work.run, args=(stream,), name="model")
        thread.start()
        try:
            while (event := await work.events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
                work.room.release()
        finally:
            work.leave()
            await asyncio.to_thread(thread.join)  # a process that ends while torch computes in a thread is aborted


class _Work:
    """What the model's thread and the event loop share."""

    def __init__(self, loop: asyncio.AbstractEventLoop, texts: Pieces) -> None:
        self._loop, self._texts = loop, texts
        self.events: asyncio.Queue[SpeechEvent | Exception | None] = asyncio.Queue()
        self.room = Semaphore(UNHEARD)
        self._asked: Future[str | Flush | None] | None = None
        self._left = False

    def run(self, stream: Iterator[SpeechEvent]) -> None:
        last: Exception | None = None
        try:
            for event in stream:
                if self._left:
                    break
                self._tell(event)
                self.room.acquire()
        except Exception as error:  # raised where the events are read
            last = error
        self._tell(last)

    def texts(self) -> Iterator[str | Flush]:
        """The pieces, asked for when the model needs them."""
        while not self._left:
            self._asked = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            with suppress(CancelledError):
                if (piece := self._asked.result()) is None:
                    return
                yield piece

    def leave(self) -> None:
        """Nobody listens any more."""
        self._left = True
        self.room.release()
        if self._asked is not None:
            self._asked.cancel()

    async def _next(self) -> str | Flush | None:
        return await anext(self._texts, None)

    def _tell(self, event: SpeechEvent | Exception | None) -> None:
        with suppress(RuntimeError):  # nobody waits any more: the loop is closed
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)
