"""The caller's end of a stream of speech to text."""

from __future__ import annotations

import asyncio
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Event, KeyTerm

from .handle import Handle, Keeper
from .lane import Lane
from .options import StreamOptions


class SttKeeper(Keeper, Protocol):
    """A keeper whose streams may move."""

    async def secure(self, lane: Lane) -> None: ...

    def expect(self, lane: Lane, terms: tuple[KeyTerm, ...]) -> None: ...


class Stream(Handle[Event]):
    """One caller's stream, made by `Runtime.open` and `Runtime.resume`."""

    def __init__(self, lane: Lane, keeper: SttKeeper) -> None:
        super().__init__(lane, keeper)
        self._lane, self._secure, self._expect = lane, keeper.secure, keeper.expect

    @property
    def options(self) -> StreamOptions:
        return self._lane.options

    @property
    def received(self) -> int:
        """Samples that push has taken, also before a resume."""
        return self._lane.received

    @property
    def samples(self) -> int:
        """Of audio, all that was heard or will be."""
        return self._lane.received

    @property
    def asked(self) -> int:
        """Flushes that were asked for, also before a resume."""
        return self._lane.asked

    @property
    def dropped(self) -> int:
        """Words that the guard has kept back, also before a resume."""
        return self._lane.session.dropped

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._lane.session.ended

    def expect(self, terms: tuple[KeyTerm, ...]) -> None:
        """Other key terms than those that it was opened with, before the first audio. Raises UnsupportedError."""
        self._must_hold()
        self._expect(self._lane, terms)

    async def push(self, samples: NDArray[np.float32]) -> None:
        """More audio: 1-D float32 at 24 kHz, any length; waits while `queue_seconds` of audio are waiting.

        Raises InvalidAudioError, which changes nothing, and VivavoceError after `end`.
        """
        self._must_hold()
        while self._lane.full and self._held and not self._lane.backlog.closed:
            await self._lane.room()
        self._must_hold()
        self._lane.push(samples)

    def push_now(self, samples: NDArray[np.float32]) -> bool:
        """As `push`, if that needs no waiting and fails at nothing but the audio; whether it was taken."""
        lane = self._lane
        takes = self._held and not (lane.full or lane.backlog.closed or lane.session.ended)
        if takes:
            lane.push(samples)
        return takes

    def flush(self, id: int | str) -> None:
        """Ask for everything said so far, now: `Flushed(id)` follows the last word. VivavoceError after `end`."""
        self._must_hold()
        self._lane.flush(id, asyncio.get_running_loop().time())

    async def secure(self) -> None:
        """Until another server could go on with the stream as it is now; at once without a vault."""
        await self._secure(self._lane)
        self._lane.patience.hear()  # until now it was the caller who waited

    def end(self) -> None:
        """No more audio will come; the last words follow."""
        self._must_hold()
        self._lane.end()
