"""What a call needs besides what it is given (`Workspace` of model.h)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import structures
from .rings import Rings


@dataclass
class Scratch:
    """Grows to the largest call."""

    width: int  # of the residual stream
    widest: int  # the most numbers that a row has between two products
    attended: int  # that attention gives a row
    head_width: int
    own: int  # floats that a thread needs
    threads: int
    _memory: list[Tensor] = field(default_factory=list)
    _struct: structures.Workspace = field(default_factory=structures.Workspace)
    _rows: int = 0

    def of(self, rows: int) -> structures.Workspace:
        """For so many rows."""
        if rows > self._rows:
            half = self.head_width // 2
            each = [self.width, self.widest, self.attended, half, half, self.widest, 1, 1]
            self._memory = [torch.zeros(size) for size in [*(rows * size for size in each), self.threads * self.own]]
            addresses = [memory.data_ptr() for memory in self._memory]
            self._struct, self._rows = structures.Workspace(*addresses, self.own, self.widest), rows
        return self._struct


def own_of(widest: int, head_width: int, *rings: Rings) -> int:
    """What a thread needs to pack a row and to attend to these."""
    places = max(ring.struct.padded for ring in rings)
    return max(places + max(places, head_width), widest)
