"""What the metrics learn from one stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from vivavoce.core import FRAME_SECONDS, Flushed, Healed, Speech, Vad, WordDropped, WordEnded, WordSpoken, WordStarted

from .guest import Guest
from .lane import Lane
from .metrics import ModuleMetrics


class Tally(ABC):
    """Watches one stream's events; times are the event loop's."""

    def __init__(self, guest: Guest[Any], metrics: ModuleMetrics) -> None:
        self._guest, self._metrics = guest, metrics
        self._frames = 0  # of audio
        self._counted = False

    @abstractmethod
    def follow(self, events: Iterable[Any], now: float) -> None:
        """One step gave these."""

    def end(self, now: float) -> None:
        """The stream will not be stepped again; called again, it counts nothing twice."""
        if self._counted:
            return
        self._counted = True
        self._metrics.moshi.length.observe(self._guest.steps)
        if self._frames:
            self._metrics.factor.observe((now - self._guest.begun) / (self._frames * FRAME_SECONDS))


class SttTally(Tally):
    """Of speech to text: every step is a frame. The audio is counted by the step."""

    def __init__(self, lane: Lane, metrics: ModuleMetrics) -> None:
        super().__init__(lane, metrics)
        self._lane = lane
        self._worded = False

    def follow(self, events: Iterable[Any], now: float) -> None:
        self._frames += 1
        for event in events:
            match event:
                case Vad():  # first, as it is the most
                    pass
                case WordStarted() if not self._worded:
                    self._worded = True
                    self._metrics.first_word.observe(now - self._lane.begun)
                case WordEnded(word) | WordDropped(word):
                    self._metrics.words.inc()
                    if word.suspect:
                        self._metrics.suspected(word.suspect)
                case Flushed():
                    self._metrics.flush.observe(now - self._lane.flushes.popleft())
                case Healed():
                    self._metrics.heals.inc()


class TtsTally(Tally):
    """Of text to speech."""

    def follow(self, events: Iterable[Any], now: float) -> None:
        for event in events:
            match event:
                case WordSpoken():
                    self._metrics.words.inc()
                case Speech():
                    if not self._frames:
                        self._metrics.first_audio.observe(now - self._guest.begun)
                    self._frames += 1
                    self._metrics.audio.inc(FRAME_SECONDS)
