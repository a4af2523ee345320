"""What a step costs, learnt from the steps that were made."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from statistics import median

WINDOW = 15  # newest steps of a batch size that count; their median bears a few that were disturbed


class StepCost:
    """Seconds of a step by its batch size; between sizes that were seen a straight line, beyond them in proportion."""

    def __init__(self) -> None:
        self._sizes = list[int]()  # those seen, ascending
        self._newest = dict[int, deque[float]]()
        self._seconds = dict[int, float]()  # medians

    def learn(self, batch: int, seconds: float) -> None:
        """A step of that many streams took that long."""
        if batch not in self._newest:
            insort(self._sizes, batch)
            self._newest[batch] = deque(maxlen=WINDOW)
        self._newest[batch].append(seconds)
        self._seconds[batch] = median(self._newest[batch])

    def predict(self, batch: int) -> float:
        """Seconds that a step of that many streams will take; 0 while nothing is known."""
        if not self._sizes or batch < 1:
            return 0.0
        at = bisect_left(self._sizes, batch)
        if at == len(self._sizes):
            largest = self._sizes[-1]
            return self._seconds[largest] * batch / largest
        above = self._sizes[at]
        if at == 0 or above == batch:
            return self._seconds[above]  # a smaller step costs no more
        below = self._sizes[at - 1]
        share = (batch - below) / (above - below)
        return (1 - share) * self._seconds[below] + share * self._seconds[above]

    def largest(self, seconds: float, most: int) -> int:
        """The largest batch from 0 to `most` that is predicted to take no longer, every smaller one fitting too."""
        fitting = (batch for batch in range(1, most + 1) if self.predict(batch) > seconds)
        return next(fitting, most + 1) - 1
