"""One stream to a server, whatever happens to its connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException

from vivavoce.core import SAMPLE_RATE, Fault, Flush, InvalidAudioError, StreamError, VivavoceError, seconds

from .address import Target
from .backlog import End
from .backoff import Backoff
from .events import ClientEvent, Disconnected, Dropped
from .faults import Failure, explain
from .inbox import Inbox
from .link import Link
from .talk import Talk
from .wire import Options, Wire
from .wire_moshi import MoshiWire
from .wire_stream import StreamWire

AHEAD = SAMPLE_RATE  # samples that `send` takes before the connection has
UNREAD = 65_536  # events that wait to be read; then the socket is not read any more
CLOSING = 3.0  # seconds that the goodbye may take
LARGEST_MESSAGE = 1 << 20  # bytes, of what a server sends
BROKEN = (WebSocketException, StreamError, OSError, EOFError, TimeoutError, InvalidHandshake, InvalidURI)


@dataclass(frozen=True)
class Patience:
    """Seconds that a stream waits for its server."""

    open: float = 30.0  # for one connection to be made
    first: float = 0.0  # trying for the first one while a server says that it is full or loading
    again: float = 60.0  # trying after a connection was lost
    keep: float = 60.0  # of audio kept while the server has not acknowledged it


class SttStream:
    """Audio in by `send`, events out by iteration; `vivavoce.client.connect` makes it, `async with` opens it.

    Read the events while you send: after 65,536 unread ones the server is not read any more, and waits.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        options: Options,
        patience: Patience,
        headers: Mapping[str, str],
        *,
        live: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        self._targets, self._options, self._patience = list(targets), options, patience
        self._headers, self._is_live = dict(headers), live
        self._backoff = backoff or Backoff()
        self._inbox = Inbox[ClientEvent](UNREAD)
        self._ended = False
        self._runner: asyncio.Task[None] | None = None
        self.opened: float | None = None  # the event loop's time when the newest websocket stood, before any message
        self._enter(self._targets.pop(0))

    def _enter(self, target: Target) -> None:
        self._target = target
        wire: Wire = StreamWire(self._options) if target.dialect == "stream" else MoshiWire(self._options)
        self._talk = Talk(wire, self._inbox)

    @property
    def target(self) -> Target:
        """Where the stream goes."""
        return self._target

    @property
    def session(self) -> str | None:
        """The server's name for this stream, by which it is resumed."""
        return self._talk.session

    @property
    def model(self) -> str | None:
        """The server's model; None before it says so, and on the moshi dialect."""
        return self._talk.model

    @property
    def duration(self) -> float:
        """Seconds of audio taken by `send` so far."""
        return seconds(self._talk.backlog.pushed)

    @property
    def connections(self) -> int:
        """How many connections the stream has had."""
        return self._talk.connections

    async def __aenter__(self) -> Self:
        """Connect. Raises StreamError for a refusal, ConnectionFailedError where nobody answers."""
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runner = asyncio.create_task(self._run(opened), name="vivavoce stream")
        try:
            await opened
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def send(self, samples: NDArray[np.float32]) -> None:
        """More audio: 1-D float32 at 24 kHz, any length.

        Waits while the server is behind. A `live` stream never waits, but throws the oldest unsent audio away when more
        than `keep` seconds are held, and says so by `Dropped`. Raises InvalidAudioError for another type or shape or
        for NaN and infinite samples; VivavoceError after `end`; and what ended the stream, if something has.
        """
        _check(samples)
        for start in range(0, len(samples), AHEAD):
            if not self._is_live:
                await self._room()
            self._refuse_after_end("audio")
            self._talk.backlog.push(samples[start : start + AHEAD])
            self._talk.to_send.set()
        if self._is_live:
            await self._overflow()

    async def flush(self, id: int | str = 0) -> None:
        """Ask for everything said so far, now; `Flushed(id)` follows the last word."""
        self._refuse_after_end("flush")
        self._talk.backlog.append(Flush(id))
        self._talk.to_send.set()

    async def end(self) -> None:
        """No more audio will come; the last words follow, then the iteration ends. Ending twice is ending once."""
        if not self._ended:
            self._ended = True
            self._talk.backlog.append(End())
            self._talk.to_send.set()

    async def close(self) -> None:
        """Leave at once; what has not been said is not said any more."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        await self._over(None)

    def __aiter__(self) -> AsyncIterator[ClientEvent]:
        return self

    async def __anext__(self) -> ClientEvent:
        """The next event; the iteration ends after the last one. Raises what ended the stream early."""
        return await self._inbox.next()

    def _refuse_after_end(self, what: str) -> None:
        if self._inbox.error is not None:
            raise self._inbox.error
        if self._ended or self._inbox.over:
            raise VivavoceError(f"the stream has ended: no {what} is taken after its end")

    async def _room(self) -> None:
        """Wait until the connection has taken most of what was sent, and the server has acknowledged enough."""
        while not self._inbox.over:
            backlog = self._talk.backlog
            if self._talk.session is None:
                backlog.trim(self._patience.keep - 2 * seconds(AHEAD))
            if backlog.waiting_samples < AHEAD and backlog.held_seconds < self._patience.keep:
                return
            self._talk.taken.clear()
            await self._talk.taken.wait()

    async def _overflow(self) -> None:
        at, dropped = self._talk.backlog.drop(self._patience.keep)
        self._talk.backlog.trim(self._patience.keep)
        if dropped:
            await self._inbox.put(Dropped(seconds(at), seconds(dropped)))

    async def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            await self._stay_connected(opened)
            await self._over(None)
        except Exception as error:  # whatever it is, the caller is told
            await self._over(error)
            if not opened.done():
                opened.set_exception(error)

    async def _over(self, error: Exception | None) -> None:
        await self._inbox.end(error)
        self._talk.taken.set()

    async def _stay_connected(self, opened: asyncio.Future[None]) -> None:
        clock = asyncio.get_running_loop().time
        since = clock()
        while not self._talk.finished:
            self._talk.said, self._talk.progress = None, False
            try:
                await self._connect(opened)
                continue
            except BROKEN as error:
                failure = explain(error, self._talk.said)
            if self._elsewhere(failure):
                continue
            if self._talk.progress:
                self._backoff.reset()
                since = clock()
            wait = self._backoff.next(failure.retry_after)
            limit = self._patience.again if self._talk.connections else self._first(failure)
            if not failure.retry or clock() - since + wait > limit:
                raise failure.error(self._target.shown)
            await self._inbox.put(Disconnected(failure.message, failure.fault, wait))
            await asyncio.sleep(wait)

    def _first(self, failure: Failure) -> float:
        """Where nobody answers at all, waiting does not help."""
        return 0.0 if failure.fault is None else self._patience.first

    def _elsewhere(self, failure: Failure) -> bool:
        """Whether another attempt makes sense at once: the other dialect, or a new session."""
        if failure.missing and self._targets and not self._talk.connections:
            self._enter(self._targets.pop(0))
            return True
        if failure.fault is Fault.UNKNOWN_SESSION and self._talk.session is not None:
            self._talk.session = None
            return True
        return False

    async def _connect(self, opened: asyncio.Future[None]) -> None:
        async with open_websocket(
            self._target.with_query(**self._talk.wire.query(self._talk.session)),
            additional_headers=self._headers,
            compression=None,  # noise does not compress
            open_timeout=self._patience.open,
            ping_timeout=20 if self._is_live else 60 + self._patience.keep,  # a pong may wait behind unread audio
            close_timeout=CLOSING,
            max_size=LARGEST_MESSAGE,
            proxy=None if self._target.loopback else True,
        ) as socket:
            self.opened = asyncio.get_running_loop().time()
            assert socket.response, "a websocket is open without an answer"
            self._talk.wire.met(socket.response.headers)
            link = Link(socket, self._target, self._talk)
            try:
                await link.greet()
                if not opened.done():
                    opened.set_result(None)
                await link.run()
            except asyncio.CancelledError:  # the caller leaves for good
                await socket.close(1000)
                raise
            except Exception:
                await socket.close(1011)  # 1000 would tell the server that nobody comes back for the session
                raise


def _check(samples: NDArray[np.float32]) -> None:
    if not isinstance(samples, np.ndarray) or samples.dtype != np.float32 or samples.ndim != 1:
        got = f"{samples.dtype} {list(samples.shape)}" if isinstance(samples, np.ndarray) else type(samples).__name__
        raise InvalidAudioError(f"audio must be float32 of shape [n] at 24 kHz, got {got}")
    if not np.isfinite(samples).all():
        first = int(np.argmin(np.isfinite(samples)))
        raise InvalidAudioError(f"sample {first} of {len(samples)} is {samples[first]}, not a finite number")
