"""An engine that computes nothing: what a stream costs then is the path around the step (`vivavoce bench path`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import TEXT_BOUNDARY, TEXT_PAD

from .outputs import Made, Outputs, StepOutput
from .snapshot import Snapshot
from .terms import Term

NULL = "null"  # in the place of a model
PIECES = ("<unk>", "<s>", "</s>", "<pad>", "▁do", "▁re", "▁mi", "▁fa", "▁so", "▁la", "▁ti")
_WORDS = range(4, len(PIECES))  # one after the other: who says one word over and over is suspect, and looked at longer
CYCLE = 125  # frames: 10 s, of which eight are spoken, a word each 0.4 s
_SPOKEN, _WORD = 100, 5
_CODES = 32


def _said(frame: int) -> StepOutput:
    speaks = frame < _SPOKEN
    piece = _WORDS[frame // _WORD % len(_WORDS)]
    token = {0: TEXT_BOUNDARY, 1: piece}.get(frame % _WORD, TEXT_PAD) if speaks else TEXT_PAD
    codes = tuple((frame + book) % 2048 for book in range(_CODES))
    return StepOutput(token, -0.1, (0.05, 0.04, 0.03, 0.02) if speaks else (0.95, 0.9, 0.8, 0.7), codes)


_SAID = tuple(map(_said, range(CYCLE)))
_TABLE = Outputs.of(range(CYCLE), _SAID)


class NullEngine:
    """The contract of `SttEngine` and the sizes of the 1B model; whatever it hears, it says the same."""

    TOGETHER: ClassVar = 16
    n_q: ClassVar = _CODES
    snapshot_frames: ClassVar = (750, 250)

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._heard = dict[int, int]()  # frames, by open slot

    def open(self, slot: int, *, temperature: float = 0.0, seed: int = 0, terms: Sequence[Term] = ()) -> int:  # noqa: ARG002
        """Give a free slot to a new stream. Returns the text token of the start position."""
        self._take(slot, 0)
        return TEXT_PAD

    def restore(self, slot: int, snapshot: Snapshot) -> None:
        """Give a free slot to a stream that was stepped elsewhere. Raises ValueError for another model's snapshot."""
        snapshot.must_fit(self.n_q, 2048, len(PIECES), 1920)
        self._take(slot, snapshot.frames)

    def close(self, slot: int) -> None:
        """The stream is over; its slot is free."""
        del self._heard[slot]

    def step(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, StepOutput]:
        """One frame float32 [1920] of each of these slots."""
        return {slot: self._next(slot) for slot in frames}

    def begin(self, frames: Mapping[int, NDArray[np.float32]]) -> Made:
        """The same, of at least one slot."""
        slots = sorted(frames)
        at = [self._heard[slot] % CYCLE for slot in slots]
        for slot in slots:
            self._heard[slot] += 1
        return Made(Outputs(slots, _TABLE.token[at], _TABLE.logprob[at], _TABLE.vad[at], _TABLE.codes[at]))

    def catch_up(self, frames: Mapping[int, NDArray[np.float32]]) -> dict[int, list[StepOutput]]:
        """The same number of frames float32 [k, 1920] of each of these slots."""
        return {slot: [self._next(slot) for _ in heard] for slot, heard in frames.items()}

    def _take(self, slot: int, heard: int) -> None:
        assert 0 <= slot < self.slots and slot not in self._heard, f"slot {slot} is not free"
        self._heard[slot] = heard

    def _next(self, slot: int) -> StepOutput:
        heard = self._heard[slot]
        self._heard[slot] = heard + 1
        return _SAID[heard % CYCLE]
