"""One stream of text to speech to a server: text in, audio and the places of the words out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Self

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

from vivavoce.core import (
    FRAME_SECONDS,
    FRAME_SIZE,
    Cleared,
    Fault,
    Flushed,
    Speech,
    SpeechEvent,
    StreamError,
    VivavoceError,
    WordSpoken,
    seconds,
)

from . import wire_speech as wire
from .address import Target
from .backoff import Backoff
from .faults import explain
from .inbox import Inbox
from .link import FIRST_MESSAGE, KEEPALIVE
from .pieces import Pieces
from .stream import BROKEN, CLOSING, LARGEST_MESSAGE, Patience
from .wire import Problem, Ready

AHEAD = round(60 / FRAME_SECONDS)  # events that wait to be read; then no more text is sent
UNREAD = round(1_000 / FRAME_SECONDS)  # the same, 96 MB; then the server is not read any more
LAST_REASON = 1.0  # seconds that a close may come behind the error message that it belongs to


class TtsStream:
    """Text in by `say`, `Speech` and `WordSpoken` out by iteration; `connect_tts` makes it, `async with` opens it.

    Read while you write: `say` waits while a minute of audio is unread. A connection that is lost cannot be resumed:
    what reads and writes raises.
    """

    def __init__(
        self,
        target: Target,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        patience: Patience,
        voice: NDArray[np.float32] | None = None,
    ) -> None:
        self.target = target
        self._query, self._headers, self._patience, self._voice = dict(query), dict(headers), patience, voice
        self._inbox = Inbox[SpeechEvent](UNREAD)
        self._pieces = Pieces()
        self._ended = False
        self._clears = 0  # that the server has not answered
        self._cleared = 0  # in all
        self._flushes: dict[int, int | str] = {}  # number on the wire to the caller's id
        self._flushed = 0  # in all
        self._given = 0  # samples put into the inbox and not dropped
        self._shift = 0.0  # seconds of audio that were dropped here, and the server counts
        self._said: StreamError | None = None  # the server's error message
        self._tasks: list[asyncio.Task[None]] = []
        self.opened: float | None = None  # the event loop's time when the websocket stood, before any message

    @property
    def time(self) -> float:
        """Seconds of audio that have come."""
        return seconds(self._given)

    async def __aenter__(self) -> Self:
        """Connect. Raises StreamError for a refusal, ConnectionFailedError where nobody answers."""
        clock, backoff = asyncio.get_running_loop().time, Backoff()
        since = clock()
        while True:
            try:
                await self._open()
                return self
            except BROKEN as error:
                failure = explain(error, self._said)
            wait = backoff.next(failure.retry_after)
            limit = 0.0 if failure.fault is None else self._patience.first
            if not failure.retry or clock() - since + wait > limit:
                raise failure.error(self.target.shown)
            await asyncio.sleep(wait)

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def say(self, text: str) -> None:
        """More text, cut anywhere; a last word waits for what follows it. What waits at a `clear` is not said."""
        self._refuse_after_end()
        cleared = self._cleared
        for piece in self._pieces.push(text):
            await self._inbox.room(AHEAD)
            if cleared != self._cleared:
                return
            await self._send(wire.text(piece))

    async def flush(self, id: int | str = 0) -> None:
        """All text so far is spoken to its end, without waiting for more; `Flushed(id)` follows the last of its audio.

        What is said then is spoken as a text of its own. Needs a vivavoce server.
        """
        self._refuse_after_end()
        for piece in self._pieces.rest():
            await self._send(wire.text(piece))
        self._flushed += 1
        self._flushes[self._flushed] = id
        await self._send(wire.flush(self._flushed))

    async def end(self) -> None:
        """No more text will come; the rest is spoken, then the iteration ends. Ending twice is ending once."""
        if not self._ended:
            self._refuse_after_end()
            self._ended = True
            for piece in self._pieces.rest():
                await self._send(wire.text(piece))
            await self._send(wire.END)

    async def clear(self) -> None:
        """The listener has interrupted: what was not read yet is dropped, what is said next is spoken.

        `Cleared` comes before it. Times go on from the audio that has come until then. Needs a vivavoce server.
        """
        self._refuse_after_end()
        self._pieces.clear()
        self._clears += 1
        self._cleared += 1
        self._forget(await self._inbox.drop(lambda event: isinstance(event, Speech)))
        await self._send(wire.CLEAR)

    async def close(self, error: Exception | None = None) -> None:
        """Leave at once; what has not been spoken never is. Whoever reads gets the error."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self._socket.close()
        await self._inbox.end(error)

    def __aiter__(self) -> AsyncIterator[SpeechEvent]:
        return self

    async def __anext__(self) -> SpeechEvent:
        """The next event; the iteration ends when everything was said. Raises what ended the stream early."""
        return await self._inbox.next()

    def _refuse_after_end(self) -> None:
        if self._inbox.error is not None:
            raise self._inbox.error
        if self._ended or self._inbox.over:
            raise VivavoceError("the stream has ended: nothing is taken after its end")

    async def _open(self) -> None:
        self._said = None
        self._socket: ClientConnection = await open_websocket(
            self.target.with_query(**self._query),
            additional_headers=self._headers,
            compression=None,  # noise does not compress
            open_timeout=self._patience.open,
            ping_timeout=60 + self._patience.keep,  # a pong may wait behind unread audio
            close_timeout=CLOSING,
            max_size=LARGEST_MESSAGE,
            proxy=None if self.target.loopback else True,
        )
        self.opened = asyncio.get_running_loop().time()
        try:
            await self._greet()
            if self._voice is not None:
                await self._socket.send(wire.voice(self._voice))
        except BaseException:
            await self._socket.close()
            raise
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._stay())]

    async def _greet(self) -> None:
        """The first message is Ready or why not; servers that never say it exist."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_MESSAGE):
                await self._hear(await self._socket.recv())

    async def _send(self, message: bytes) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed:  # the reader knows why
            await asyncio.gather(self._tasks[0], return_exceptions=True)
            raise self._inbox.error or VivavoceError("the stream has ended") from None

    async def _stay(self) -> None:
        """Signs of life while nothing is said."""
        with suppress(ConnectionClosed):
            await asyncio.sleep(KEEPALIVE)
            while not self._ended:
                await self._socket.send(wire.text(""))
                await asyncio.sleep(KEEPALIVE)

    async def _run(self) -> None:
        try:
            while True:
                await self._hear(await self._socket.recv())
        except BROKEN as error:
            closed = error.rcvd if isinstance(error, ConnectionClosed) else None
            if self._ended and closed is not None and closed.code in (1000, 1005) and self._said is None:
                await self._inbox.end()
            else:
                await self._inbox.end(explain(error, self._said).error(self.target.shown))
        except Exception as error:  # whatever it is, the caller is told
            await self._inbox.end(error)

    async def _hear(self, message: str | bytes) -> None:
        match wire.decode(message):
            case Problem(error):
                if self._voice is not None and not self._given and error.fault is Fault.INTERNAL:  # it names none
                    error = StreamError(Fault.UNSUPPORTED, str(error))
                await self._fail(error)
            case Speech(samples) as event:
                self._given += len(samples)
                if self._clears:
                    self._forget(1)
                else:
                    await self._inbox.put(event)
            case WordSpoken(text, start, stop):
                await self._inbox.put(WordSpoken(text, max(0.0, start - self._shift), max(0.0, stop - self._shift)))
            case Flushed(number) if number in self._flushes:
                await self._inbox.put(Flushed(self._flushes.pop(number)))
            case Cleared():
                self._clears -= 1
                await self._inbox.put(Cleared(self.time))
            case Ready() | Flushed() | None:
                pass

    def _forget(self, frames: int) -> None:
        """So much audio has come and is not given."""
        self._given -= frames * FRAME_SIZE
        self._shift += frames * FRAME_SECONDS

    async def _fail(self, said: StreamError) -> None:
        """Raises the error, or the close behind it where that has a code that says more."""
        self._said = said
        try:
            async with asyncio.timeout(LAST_REASON):
                while True:
                    await self._socket.recv()
        except TimeoutError:
            raise said from None
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == 1000:
                raise said from None
            raise
