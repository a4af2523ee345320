"""One stream that speaks a clip, as a person at a microphone does, and notes when what came back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vivavoce.client import ClientEvent
from vivavoce.core import FRAME_SIZE, SAMPLE_RATE, Flushed, Token, VivavoceError, Word, WordEnded, WordStarted

from .clip import Clip

SILENT = 30.0  # seconds without any event, once all was sent, after which a stream is given up


class Spoken(Protocol):
    """What is needed of a stream: `vivavoce.client.SttStream` has it."""

    async def send(self, samples: NDArray[np.float32]) -> None: ...
    async def flush(self, id: int | str = 0) -> None: ...
    async def end(self) -> None: ...
    def __aiter__(self) -> AsyncIterator[ClientEvent]: ...


@dataclass
class Pass:
    """The clip, spoken once and flushed. Times are the event loop's, in seconds; None is what did not come."""

    began: float  # the first sample was spoken
    onset: float  # the sound began
    first_sent: float  # the first 80 ms had been spoken and were sent
    last_sent: float = 0.0  # the last sample, which ends the speech, was sent, and the flush behind it
    first_token: float | None = None
    final: float | None = None  # the last token, or word that began or ended, of this pass
    flushed: float | None = None
    tokens: int = 0
    words: list[Word] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    def to_first_token(self) -> float | None:
        """From the first audio sent to the first piece of text."""
        return _between(self.first_sent, self.first_token)

    def speech_to_token(self) -> float | None:
        """From where the sound began to the first piece of text."""
        return _between(self.onset, self.first_token)

    def to_final(self) -> float | None:
        """From the last sample sent to the last word event; negative when it had come before."""
        return _between(self.last_sent, self.final)

    def to_flushed(self) -> float | None:
        """From the last sample sent to the answer of the flush: there is nothing more to come, and the caller knows."""
        return _between(self.last_sent, self.flushed)


def _between(start: float, stop: float | None) -> float | None:
    return None if stop is None else stop - start


class Speaker:
    """Speaks a clip at `speed` times real time; each 80 ms are sent when their last sample has been spoken."""

    def __init__(self, stream: Spoken, clip: Clip, speed: float, watch: Callable[[Pass], None] | None = None) -> None:
        self._stream, self._clip, self._speed, self._watch = stream, clip, speed, watch
        self._clock = asyncio.get_running_loop().time
        self.passes: list[Pass] = []
        self.late: list[float] = []  # seconds by which each message left after it was due
        self._heard = 0  # passes that were answered

    @classmethod
    async def speak(
        cls,
        stream: Spoken,
        clip: Clip,
        speed: float,
        *,
        loops: int = 1,
        at: float | None = None,
        watch: Callable[[Pass], None] | None = None,
    ) -> Self:
        """From `at` on the event loop's clock (now), `loops` passes without a pause between; returns when all is heard.

        `watch` is given each pass when it begins. Raises what ends the stream early, and VivavoceError when it does not
        answer.
        """
        speaker = cls(stream, clip, speed, watch)
        try:
            async with asyncio.timeout(None) as patience:
                await speaker._run(loops, speaker._clock() if at is None else at, patience)
        except TimeoutError:
            raise VivavoceError(f"no answer for {SILENT:g} s after the last audio") from None
        if speaker._heard < loops:
            raise VivavoceError(f"the stream ended with {speaker._heard} of {loops} flushes answered")
        return speaker

    async def _run(self, loops: int, start: float, patience: asyncio.Timeout) -> None:
        listener = asyncio.create_task(self._listen(patience))
        try:
            await self._talk(loops, start, patience)
            await listener
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _talk(self, loops: int, start: float, patience: asyncio.Timeout) -> None:
        for number in range(loops):
            began = start + number * self._clip.duration / self._speed
            await self._once(number, began)
        await self._stream.end()
        patience.reschedule(self._clock() + SILENT)

    async def _once(self, number: int, began: float) -> None:
        samples = self._clip.samples
        for first in range(0, len(samples), FRAME_SIZE):
            stop = min(first + FRAME_SIZE, len(samples))
            due = began + stop / SAMPLE_RATE / self._speed
            await asyncio.sleep(max(0.0, due - self._clock()))
            if first == 0:
                self.passes.append(Pass(began, began + self._clip.onset / self._speed, self._clock()))
                if self._watch is not None:
                    self._watch(self.passes[-1])
            await self._stream.send(samples[first:stop])
            self.late.append(self._clock() - due)
        self.passes[-1].last_sent = self._clock()
        await self._stream.flush(number)

    async def _listen(self, patience: asyncio.Timeout) -> None:
        async for event in self._stream:
            now = self._clock()
            if patience.when() is not None:
                patience.reschedule(now + SILENT)
            if self._heard < len(self.passes):
                self._note(self.passes[self._heard], event, now)

    def _note(self, heard: Pass, event: ClientEvent, now: float) -> None:
        match event:
            case Token():
                heard.tokens += 1
                heard.first_token = now if heard.first_token is None else heard.first_token
                heard.final = now
            case WordStarted():
                heard.final = now
            case WordEnded(word):
                heard.words.append(word)
                heard.final = now
            case Flushed():
                heard.flushed = now
                self._heard += 1
