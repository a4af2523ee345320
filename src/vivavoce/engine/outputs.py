"""What a step gives: of one stream, and of all that had a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one frame gave."""

    token: int
    logprob: float  # of the token, natural logarithm
    vad: tuple[float, ...]  # per head, the probability that no word starts within its horizon
    codes: tuple[int, ...]  # the frame's codes, as many as the LM hears


@dataclass(frozen=True, slots=True)
class Outputs:
    """The same of every stream of a step, a row each: two thousand objects would take longer than all else here."""

    slots: Sequence[int]  # rising
    token: NDArray[np.integer[Any]]  # [B]
    logprob: NDArray[np.float32]  # [B]
    vad: NDArray[np.float32]  # [B, heads]
    codes: NDArray[np.int32]  # [B, n_q]

    @classmethod
    def of(cls, slots: Sequence[int], rows: Sequence[StepOutput]) -> Outputs:
        """For few streams."""
        tokens, codes = np.array([row.token for row in rows]), np.array([row.codes for row in rows], np.int32)
        logprob, vad = ([row.logprob for row in rows], [row.vad for row in rows])
        return cls(slots, tokens, np.array(logprob), np.array(vad), codes)

    def each(self) -> dict[int, StepOutput]:
        """By slot."""
        parts: list[list[Any]] = [part.tolist() for part in (self.token, self.logprob, self.vad, self.codes)]
        rows = zip(self.slots, *parts, strict=True)
        return {slot: StepOutput(t, p, tuple(v), tuple(c)) for slot, t, p, v, c in rows}


class Begun(Protocol):
    """A step that was begun, and may be over."""

    @property
    def done(self) -> bool:
        """Whether `outputs` would not wait."""
        ...

    def outputs(self) -> Outputs:
        """What it gave, once it is over; asked for once, in the order in which steps were begun."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """`Begun` of an engine that computes where it is called."""

    made: Outputs
    done: ClassVar = True

    def outputs(self) -> Outputs:
        return self.made
