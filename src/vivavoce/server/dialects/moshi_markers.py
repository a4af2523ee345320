"""When a marker comes back: once its client's own audio has gone on for the text's delay, and every word is out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_SECONDS, FRAME_SIZE, SAMPLE_RATE, Event, Token, Vad, WordEnded, WordStarted, seconds

PATIENCE_FRAMES = 25  # for which an echo waits for a word that is still growing; none is longer
SHORTEST_GUESS = 1.0  # seconds that a word may last whose end the model does not tell


@dataclass(slots=True)
class _Pending:
    id: int
    at: int  # samples the client had sent before it
    padded: bool = True  # only zeros came after it
    flush: int | None = None  # the flush that answers it; None: audio does


class Markers:
    """The markers of one stream, answered by what its events tell; `delay_frames` is the model's.

    moshi-server counts the steps of all its clients together and needs more audio to answer at all; here the client's
    own frames count. A client that sends on (latency probes in the middle of speech, silence as padding) is answered
    by that audio, so that nothing is put into its stream; only one that stops is flushed, by `flush`.
    """

    def __init__(self, delay_frames: int) -> None:
        self._delay = delay_frames
        self._pending: deque[_Pending] = deque()
        self._flushes = 0
        self._heard = 0  # samples stepped
        self._growing: float | None = None  # where the word begins whose pieces are still coming
        self._open: float | None = None  # where the word begins that has no end yet
        self._pieces = 0
        self._ended_early = False

    def add(self, id: int, at: int) -> None:
        """A marker after `at` samples."""
        self._pending.append(_Pending(id, at))

    def audio(self, samples: NDArray[np.float32]) -> None:
        """The client has sent on."""
        if self._pending and samples.any():
            for marker in self._pending:
                marker.padded = False

    @property
    def waiting(self) -> bool:
        """Whether a marker waits for audio."""
        return any(marker.flush is None for marker in self._pending)

    def flush(self) -> int:
        """No audio comes: all that wait are answered by a flush of this number."""
        self._flushes += 1
        for marker in self._pending:
            if marker.flush is None:
                marker.flush = self._flushes
        return self._flushes

    def flushed(self, number: int) -> list[int]:
        """The ids of those that this flush answers."""
        ids = []
        while self._pending and self._pending[0].flush == number:
            ids.append(self._pending.popleft().id)
        return ids

    def follow(self, event: Event) -> bool:
        """Every event of the stream, in order; whether it is news to the client."""
        match event:
            case Vad(time, _):
                self._heard = round(time * SAMPLE_RATE)
            case Token(_, start):
                self._growing = start if self._growing is None else self._growing
                self._pieces += 1
            case WordStarted(_, start, _):
                self._growing, self._open, self._ended_early = None, start, False
            case WordEnded(_):
                self._open, self._pieces = None, 0
                return not self._ended_early
        return True

    def due(self) -> tuple[float | None, list[int]]:
        """After the last event of a step: the end to tell of a word that padding has ended, and the ids to echo."""
        stop, ids = None, []
        while self._pending and self._due(marker := self._pending[0]):
            if marker.padded and self._open is not None and not self._ended_early:
                stop = self._guess(self._open, marker.at)
            ids.append(self._pending.popleft().id)
        return stop, ids

    def _due(self, marker: _Pending) -> bool:
        behind = self._heard - marker.at  # samples stepped that came after it
        if marker.flush is not None or behind <= (self._delay - 1) * FRAME_SIZE:
            return False
        cut = self._growing is not None and self._growing < seconds(marker.at)  # a word said before it is not out
        return not cut or behind > (self._delay + PATIENCE_FRAMES) * FRAME_SIZE

    def _guess(self, start: float, at: int) -> float:
        self._ended_early = True
        return max(start, min(seconds(at), start + max(SHORTEST_GUESS, self._pieces * FRAME_SECONDS)))
