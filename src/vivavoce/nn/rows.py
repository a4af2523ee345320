"""Which rows of a batched streaming state take part in a call."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


class Rows:
    """A sorted choice of state rows (slots).

    Neighbouring slots are kept as slices: large buffers (keys and values) are then read in place, one slice at a
    time, and a full batch is a single slice without any gather.
    """

    def __init__(self, slots: Sequence[int], device: torch.device | str = "cpu") -> None:
        ordered = list(slots)
        assert ordered and all(a < b for a, b in pairwise(ordered)), f"rows must rise, got {ordered}"
        self.index = torch.tensor(ordered, device=device)
        self.runs = _runs(ordered)  # slices of the state

    @property
    def parts(self) -> list[slice]:
        """The same runs as slices of the batch."""
        ends = [0]
        for run in self.runs:
            ends.append(ends[-1] + run.stop - run.start)
        return [slice(a, b) for a, b in pairwise(ends)]

    def read(self, state: Tensor) -> Tensor:
        """The chosen rows, [slots, ...] to [rows, ...]; a view when they are neighbours."""
        return state[self.runs[0]] if len(self.runs) == 1 else state[self.index]

    def write(self, state: Tensor, value: Tensor) -> None:
        """Store [rows, ...] back into [slots, ...]."""
        if len(self.runs) == 1:
            state[self.runs[0]] = value
        else:
            state[self.index] = value


def _runs(slots: Sequence[int]) -> list[slice]:
    runs: list[slice] = []
    for slot in slots:
        if runs and runs[-1].stop == slot:
            runs[-1] = slice(runs[-1].start, slot + 1)
        else:
            runs.append(slice(slot, slot + 1))
    return runs
