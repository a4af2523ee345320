"""How fast the engine is, and whether it can bear one more stream."""

from __future__ import annotations

from collections import deque

from vivavoce.core import FRAME_SECONDS

from .cost import StepCost

MEMORY_SECONDS = 60.0
MOST_STEPS = 4096  # remembered within it


class Pace:
    """Step times of the last minute, and what they say of more streams. Times are given, never read."""

    def __init__(self, load_limit: float) -> None:
        self._limit = load_limit  # share of 80 ms; 0 is none
        self._cost = StepCost()
        self._newest = deque[tuple[float, float]](maxlen=MOST_STEPS)  # when, how long

    def learn(self, batch: int, seconds: float) -> None:
        """A step that told no stream anything: those that warm the engine up."""
        self._cost.learn(batch, seconds)

    def stepped(self, batch: int, seconds: float, now: float, frames: int = 1) -> None:
        """A step of that many streams, and frames of each; only those of one frame tell what live streams cost."""
        if frames == 1:
            self._cost.learn(batch, seconds)
        self._newest.append((now, seconds))

    def percentiles(self, now: float) -> tuple[float, float]:
        """Median and 95th percentile of the step time over the last minute, seconds; 0 without steps."""
        recent = sorted(seconds for when, seconds in self._newest if when > now - MEMORY_SECONDS)
        if not recent:
            return 0.0, 0.0
        return recent[len(recent) // 2], recent[min(len(recent) - 1, round(0.95 * len(recent)))]

    def load(self, streams: int) -> float:
        """The share of every 80 ms that one step of that many streams takes."""
        return self._cost.predict(streams) / FRAME_SECONDS

    def bears(self, streams: int) -> bool:
        """Whether that many live streams are served in time. A first one always is: it can slow nobody down."""
        return not self._limit or streams <= 1 or self.load(streams) <= self._limit

    def capacity(self, slots: int) -> int:
        """How many live streams are served in time, at most `slots`."""
        return slots if not self._limit else self._cost.largest(self._limit * FRAME_SECONDS, slots)
