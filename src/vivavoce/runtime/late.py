"""Which streams that are far behind are stepped apart, and how many frames of each in one go. Pure, as the schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .cost import StepCost
from .schedule import EXTRA_STEP_SECONDS

BEHIND = 4  # frames that wait; fewer are as quick in the steps that others take anyway
FEW = 3  # streams; more of them that are behind are as quick together


class Late:
    """A flush makes a stream some ten frames late at once: they are heard together, beside the others' steps.

    What that costs is learnt by the number of frames, of however many streams: the computation is much the same.
    """

    def __init__(self, together: int, step: StepCost, steps: Iterable[tuple[int, float]]) -> None:
        self._together, self._step, self._cost = together, step, StepCost()
        for frames, seconds in steps:
            self._cost.learn(frames, seconds)

    def learn(self, frames: int, seconds: float) -> None:
        """So many frames in one go took that long."""
        self._cost.learn(frames, seconds)

    def choose(self, owed: Mapping[int, int], live: bool) -> tuple[list[int], int]:
        """Of streams and the frames that each may be stepped: whom to step apart, and how many frames of each.

        While others are `live` as many as keep this and the step of the rest within EXTRA_STEP_SECONDS, but always
        enough to be quicker than frame by frame; whoever has the fewest is first.
        """
        late = sorted((stream for stream, frames in owed.items() if frames >= BEHIND), key=owed.__getitem__)
        if not 1 <= len(late) <= FEW:
            return [], 1
        live = live or len(late) < len(owed)
        for streams in range(len(late), 0, -1):
            most = self._together * streams
            if live:
                most = self._within(EXTRA_STEP_SECONDS - self._step.predict(len(owed) - streams), most)
            count = min(self._together, owed[late[0]], most)
            if count * streams <= most:
                break
        return late[:streams], count

    def _within(self, seconds: float, most: int) -> int:
        fitting = (frames for frames in range(most, BEHIND, -1) if self._cost.predict(frames) <= seconds)
        return next(fitting, BEHIND)
