"""A model in this process behind the face of a client's stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Self

from vivavoce.core import Event, Flush, seconds

if TYPE_CHECKING:
    from vivavoce.audio import Samples
    from vivavoce.transcriber import Transcriber


class LocalStream:
    """`send`, `flush`, `end` and iteration, as `vivavoce.client.SttStream` has them; the model works in a thread."""

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber
        self._chunks: SimpleQueue[Samples | Flush | None] = SimpleQueue()
        self._events: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self._thread: Thread | None = None
        self._sent = 0
        self._left = False

    @property
    def model(self) -> str:
        return self._transcriber.name

    @property
    def duration(self) -> float:
        """Seconds of audio sent."""
        return seconds(self._sent)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._work, args=(loop,), name="model")
        self._thread.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Waits for the model's thread: a process that ends while torch computes in one is aborted."""
        self._left = True
        self._chunks.put(None)
        assert self._thread
        await asyncio.to_thread(self._thread.join)

    async def send(self, samples: Samples) -> None:
        self._sent += len(samples)
        self._chunks.put(samples)

    async def flush(self, id: int | str = 0) -> None:
        self._chunks.put(Flush(id))

    async def end(self) -> None:
        self._chunks.put(None)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        last: Exception | None = None
        try:
            for event in self._transcriber.stream(self._said()):
                loop.call_soon_threadsafe(self._events.put_nowait, event)
        except Exception as error:  # raised where the events are read
            last = error
        with suppress(RuntimeError):  # nobody waits any more: the loop is closed
            loop.call_soon_threadsafe(self._events.put_nowait, last)

    def _said(self) -> Iterator[Samples | Flush]:
        while (chunk := self._chunks.get()) is not None and not self._left:
            yield chunk
