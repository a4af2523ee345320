"""Who steps now. Pure and deterministic: it is told the time, and knows neither frames nor processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vivavoce.core import FRAME_RATE

from .cost import StepCost

BURST = 25.0  # frames that a stream may be behind and still be owed at once: 2 s
EXTRA_STEP_SECONDS = 0.04  # half a frame: how long frames that nobody is owed may make a step while live streams run
_WHOLE = 1 - 1e-9  # of a credit; twelve and a half times 0.08 s is not quite one in floating point


@dataclass(slots=True)
class _Claim:
    """What one stream is owed."""

    credit: float  # frames; 12.5 more a second, at most the burst
    at: float  # seconds: when that was so
    waiting: int = 0  # frames
    turn: int = 0  # number of its newest step among all; the lowest is first among the extra ones

    def accrue(self, now: float, most: float) -> None:
        self.credit = min(most, self.credit + max(0.0, now - self.at) * FRAME_RATE)
        self.at = max(self.at, now)

    @property
    def owed(self) -> bool:
        return self.credit >= _WHOLE


class Schedule:
    """Every stream is owed 12.5 frames a second, with a burst; whoever sends more gets what is left over.

    A step takes every frame that is owed. Of the others it takes all while no live stream is open, that is one with
    credit left; else as many as keep the step's predicted time within 40 ms, in turns.
    """

    def __init__(self, cost: StepCost, burst: float = BURST) -> None:
        self._cost, self._burst = cost, burst
        self._claims = dict[int, _Claim]()
        self._waiting = dict[int, _Claim]()  # those whose frames wait, in the order in which they began to
        self._turn = 0

    def open(self, stream: int, now: float) -> None:
        """A stream begins, with its whole burst."""
        self._claims[stream] = _Claim(self._burst, now)

    def close(self, stream: int) -> None:
        """A stream is over, and the frames that it had waiting are gone."""
        del self._claims[stream]
        self._waiting.pop(stream, None)

    def frame(self, stream: int) -> None:
        """One more frame of a stream waits."""
        claim = self._claims[stream]
        claim.waiting += 1
        self._waiting[stream] = claim

    def choose(self, now: float) -> list[int]:
        """The streams whose oldest frame is stepped now, each charged for it; empty when none waits or may go."""
        chosen = list[int]()
        extra = list[tuple[int, int]]()
        for stream, claim in self._waiting.items():
            claim.accrue(now, self._burst)
            if claim.owed:
                claim.credit -= 1
                chosen.append(stream)
            else:
                extra.append((claim.turn, stream))
        if extra:
            chosen += [stream for _, stream in sorted(extra)[: self._room(len(chosen), len(extra), now)]]
        for stream in chosen:
            self._turn += 1
            self._claims[stream].turn = self._turn
            self._take(stream, 1)
        return chosen

    def owed(self, stream: int) -> int:
        """Further frames of a stream that wait and are owed, as of the last `choose`."""
        claim = self._claims[stream]
        return min(claim.waiting, int(claim.credit / _WHOLE))

    def owes_others(self, streams: Iterable[int], now: float) -> bool:
        """Whether a stream other than these is live: its next frame, when it comes, must not wait for long."""
        ours = set(streams)
        return any(self._live(claim, now) for stream, claim in self._claims.items() if stream not in ours)

    def claim(self, stream: int, frames: int) -> None:
        """So many of those are stepped together with the chosen one."""
        assert frames <= self.owed(stream), f"{frames} frames were claimed, {self.owed(stream)} are owed"
        self._claims[stream].credit -= frames
        self._take(stream, frames)

    def wait(self, now: float) -> float | None:
        """Seconds until `choose` gives a stream, 0 when it does now; None while no frame waits."""
        if not self._waiting:
            return None
        waiting = self._waiting.values()
        if any(self._live(claim, now) for claim in waiting) or self._room(0, len(waiting), now):
            return 0.0
        return (1 - max(claim.credit for claim in waiting)) / FRAME_RATE

    def _take(self, stream: int, frames: int) -> None:
        claim = self._claims[stream]
        claim.waiting -= frames
        if not claim.waiting:
            self._waiting.pop(stream, None)

    def _live(self, claim: _Claim, now: float) -> bool:
        claim.accrue(now, self._burst)
        return claim.owed

    def _room(self, owed: int, extra: int, now: float) -> int:
        """How many extra frames fit into a step beside those owed."""
        if not any(self._live(claim, now) for claim in self._claims.values()):
            return extra
        return max(0, self._cost.largest(EXTRA_STEP_SECONDS, owed + extra) - owed)
