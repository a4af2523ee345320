"""The caller's end of a stream of any kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, Protocol, TypeVar

from vivavoce.core import Fault, StreamError

from .guest import Guest

E = TypeVar("E")


class Keeper(Protocol):
    """Who owns the streams."""

    def park(self, guest: Any) -> None: ...

    def close(self, guest: Any) -> None: ...


class Handle(Generic[E]):
    """For one event loop, one reader, one pusher.

    Every method raises the stream's StreamError once it has been ended for a fault, and StreamError(NORMAL) after
    `close`, `park`, or when the session was resumed by another connection: this end has no say in it any more. So it is
    with a resumable stream that was parked because its caller was idle, but for the fault. `park` and `close`
    themselves then do nothing.
    """

    def __init__(self, guest: Guest[E], keeper: Keeper) -> None:
        self._guest, self._keeper = guest, keeper
        guest.held_by(self)

    @property
    def id(self) -> str:
        """Unguessable: who knows it may resume the stream."""
        return self._guest.id

    @property
    def created(self) -> float:
        """When the stream was opened, seconds since 1970."""
        return self._guest.created

    @property
    def queued(self) -> int:
        """Samples that wait: for their step, or for their reader."""
        return self._guest.queued

    @property
    def steps(self) -> int:
        """Steps that have been made of it."""
        return self._guest.steps

    @property
    def position(self) -> int:
        """How many events have been read, which is the newest one's number."""
        return self._guest.backlog.position

    @property
    def unread(self) -> int:
        """Events that can be read at once; those of one step come together."""
        return self._guest.backlog.unread

    @property
    def over(self) -> bool:
        """Whether no more events will come."""
        return self._guest.backlog.closed

    def keepalive(self) -> None:
        """The caller is there, though it sends nothing."""
        self._must_hold()
        self._guest.patience.hear()

    def idle_after(self, seconds: float, told: StreamError) -> None:
        """This caller is idle when nothing has come of it for so long, instead of `idle_seconds`; 0: never.

        The stream then ends for the fault that is `told`; one that is resumable is parked.
        """
        self._must_hold()
        self._guest.patience.idle_after(seconds, told)

    def events(self, after: int | None = None) -> AsyncIterator[E]:
        """Events in order, until the stream has ended; raises StreamError when it was ended for a fault.

        `after`: read on behind the event of that number, which a resumable stream can repeat as long as it is not older
        than `event_backlog` events; else StreamError(UNKNOWN_SESSION).
        """
        self._must_be_held()
        if after is not None:
            self._guest.backlog.seek(after)
        return self._read()

    def quick(self, consumer: Callable[[], bool] | None) -> None:
        """Whenever a reader of `events` waits and something comes, `consumer` may take it first, by `unread_events`,
        and returns whether it has: a step's events then cost no turn of the loop. It must not raise."""
        self._guest.backlog.consumer = consumer

    def unread_events(self) -> list[E]:
        """Everything that can be read at once."""
        events = self._guest.backlog.take_unread() if self._held else []
        if events:
            self._guest.was_read()
        return events

    def park(self) -> None:
        """The connection was lost: a resumable stream is kept for `resume`, any other is closed."""
        if self._held:
            self._guest.held_by(None)
            self._keeper.park(self._guest)

    def close(self) -> None:
        """The caller is gone for good; the slot is free at once."""
        if self._held:
            self._guest.held_by(None)
            self._keeper.close(self._guest)

    @property
    def _held(self) -> bool:
        return self._guest.holder is self

    def _must_hold(self) -> None:
        self._guest.must_go_on()
        self._must_be_held()

    def _must_be_held(self) -> None:
        if not self._held:
            raise self._guest.let_go or StreamError(Fault.NORMAL, "the session goes on elsewhere or was closed")

    async def _read(self) -> AsyncIterator[E]:
        backlog = self._guest.backlog
        while self._held:
            if (event := backlog.take()) is not None:
                self._guest.was_read()
                yield event
            elif backlog.error:
                raise backlog.error
            elif backlog.closed:
                return
            else:
                await backlog.wait()
        self._must_be_held()
