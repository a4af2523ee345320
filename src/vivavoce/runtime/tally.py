"""What the metrics learn from one stream."""

from __future__ import annotations

from collections.abc import Iterable

from vivavoce.core import FRAME_SECONDS, Event, Flushed, Healed, WordEnded, WordStarted

from .lane import Lane
from .metrics import ModuleMetrics


class Tally:
    """Watches one stream's events; times are the event loop's."""

    def __init__(self, lane: Lane, metrics: ModuleMetrics) -> None:
        self._lane, self._metrics = lane, metrics
        self._worded = False
        self._counted = False

    def follow(self, events: Iterable[Event], now: float) -> None:
        """One step gave these."""
        self._metrics.audio.inc(FRAME_SECONDS)
        for event in events:
            match event:
                case WordStarted() if not self._worded:
                    self._worded = True
                    self._metrics.first_word.observe(now - self._lane.begun)
                case WordEnded():
                    self._metrics.words.inc()
                case Flushed():
                    self._metrics.flush.observe(now - self._lane.flushes.popleft())
                case Healed():
                    self._metrics.heals.inc()

    def end(self, now: float) -> None:
        """The stream will not be stepped again; called again, it counts nothing twice."""
        lane = self._lane
        if self._counted:
            return
        self._counted = True
        self._metrics.all.asr_length.observe(lane.steps)
        if lane.steps:
            self._metrics.factor.observe((now - lane.begun) / (lane.steps * FRAME_SECONDS))
