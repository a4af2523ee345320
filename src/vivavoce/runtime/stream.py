"""The caller's end of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Event, Fault, StreamError

from .lane import Lane
from .options import StreamOptions


class Keeper(Protocol):
    """Who owns the streams."""

    def park(self, lane: Lane) -> None: ...

    def close(self, lane: Lane) -> None: ...


class Stream:
    """One caller's stream, made by `Runtime.open` and `Runtime.resume`; for one event loop, one reader, one pusher.

    Every method raises the stream's StreamError once it has been ended for a fault, and StreamError(NORMAL) after
    `close`, `park`, or when the session was resumed by another connection: this end has no say in it any more. `park`
    and `close` themselves then do nothing.
    """

    def __init__(self, lane: Lane, keeper: Keeper) -> None:
        self._lane, self._keeper = lane, keeper
        lane.held_by(self)

    @property
    def id(self) -> str:
        """Unguessable: who knows it may resume the stream."""
        return self._lane.id

    @property
    def created(self) -> float:
        """When the stream was opened, seconds since 1970."""
        return self._lane.created

    @property
    def options(self) -> StreamOptions:
        return self._lane.options

    @property
    def received(self) -> int:
        """Samples that push has taken, also before a resume."""
        return self._lane.received

    @property
    def queued(self) -> int:
        """Samples that wait for their step."""
        return self._lane.queued

    @property
    def steps(self) -> int:
        """Frames that have been stepped."""
        return self._lane.steps

    @property
    def asked(self) -> int:
        """Flushes that were asked for, also before a resume."""
        return self._lane.asked

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._lane.session.ended

    @property
    def position(self) -> int:
        """How many events have been read, which is the newest one's number."""
        return self._lane.backlog.position

    @property
    def unread(self) -> int:
        """Events that can be read at once; those of one step come together."""
        return self._lane.backlog.unread

    async def push(self, samples: NDArray[np.float32]) -> None:
        """More audio: 1-D float32 at 24 kHz, any length; waits while `queue_seconds` of audio are waiting.

        Raises InvalidAudioError, which changes nothing, and VivavoceError after `end`.
        """
        self._must_hold()
        while self._lane.full and self._held and not self._lane.backlog.closed:
            await self._lane.room()
        self._must_hold()
        self._lane.push(samples)

    def flush(self, id: int | str) -> None:
        """Ask for everything said so far, now: `Flushed(id)` follows the last word. VivavoceError after `end`."""
        self._must_hold()
        self._lane.flush(id, asyncio.get_running_loop().time())

    def end(self) -> None:
        """No more audio will come; the last words follow."""
        self._must_hold()
        self._lane.end()

    def keepalive(self) -> None:
        """The caller is there, though it sends no audio."""
        self._must_hold()
        self._lane.patience.hear()

    def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Events in order, until the stream has ended; raises StreamError when it was ended for a fault.

        `after`: read on behind the event of that number, which a resumable stream can repeat as long as it is not older
        than `event_backlog` events; else StreamError(UNKNOWN_SESSION).
        """
        self._must_be_held()
        if after is not None:
            self._lane.backlog.seek(after)
        return self._read()

    def park(self) -> None:
        """The connection was lost: a resumable stream is kept for `Runtime.resume`, any other is closed."""
        if self._held:
            self._lane.held_by(None)
            self._keeper.park(self._lane)

    def close(self) -> None:
        """The caller is gone for good; the slot is free at once."""
        if self._held:
            self._lane.held_by(None)
            self._keeper.close(self._lane)

    @property
    def _held(self) -> bool:
        return self._lane.holder is self

    def _must_hold(self) -> None:
        self._lane.must_go_on()
        self._must_be_held()

    def _must_be_held(self) -> None:
        if not self._held:
            raise StreamError(Fault.NORMAL, "the session goes on elsewhere or was closed")

    async def _read(self) -> AsyncIterator[Event]:
        backlog = self._lane.backlog
        while self._held:
            if (event := backlog.take()) is not None:
                yield event
            elif backlog.error:
                raise backlog.error
            elif backlog.closed:
                return
            else:
                await backlog.wait()
        self._must_be_held()
