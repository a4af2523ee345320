"""What an engine steps: the LM with its memory of every slot, in PyTorch or in native code, with one contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from vivavoce.core import UnsupportedError
from vivavoce.nn.lm import Lm
from vivavoce.nn.rows import Rows

from .answer import Answer
from .kernels.library import library
from .kernels.lm import NativeLm, Precision, can_step
from .kernels.packing import Format


class Stepper(Protocol):
    """The LM and what it remembers of each slot."""

    @property
    def position(self) -> Tensor:
        """Positions heard, int64 [slots]; setting one back unhears what lies behind it, up to a call's frames."""
        ...

    def hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The next T frames of these slots, as `Lm.forward` with a state."""
        ...

    def answer(self, rows: Rows, text: Tensor, codes: Tensor) -> Answer:
        """The same, and what it comes to."""
        ...

    def prefill(self, text: Tensor, codes: Tensor, slot: int, position: int) -> None:
        """`slot`, which was reset, hears text [1, T] and codes [1, T, n_q], T of any length, from `position` on."""
        ...

    def reset(self, slot: int) -> None:
        """Forget what `slot` heard."""
        ...


THREAD = 50_000_000  # weights that are worth a thread: below, threads wait for one another longer than they work
StepperOf = Callable[[Lm, int, int], Stepper]  # for so many slots, that bring at most so many frames a call


class PlainLm:
    """`Stepper` in PyTorch, on any device."""

    def __init__(self, lm: Lm, slots: int, frames: int) -> None:
        self._lm, self._state = lm, lm.state(slots, frames)

    @property
    def position(self) -> Tensor:
        return self._state.position

    def hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        logits, extra = self._lm(text, codes, self._state, rows)
        return logits, extra

    def answer(self, rows: Rows, text: Tensor, codes: Tensor) -> Answer:
        return Answer.of(*self.hear(rows, text, codes))

    def prefill(self, text: Tensor, codes: Tensor, slot: int, position: int) -> None:
        self._lm.prefill(text, codes, self._state, slot, position)

    def reset(self, slot: int) -> None:
        self._state.reset(slot)


def fastest(lm: Lm, slots: int, frames: int, *, packed: str | None = None) -> Stepper:
    """Native code where it can be, in the precision of the model, with at most as many threads as PyTorch uses.

    `packed` is "int8" or "int4", of the weights, keys and values as of `Format`. Raises UnsupportedError where native
    code cannot be: PyTorch has no such precision.
    """
    kernels = library() if can_step(lm) else None
    if kernels is None:
        must_not_be(packed)
        return PlainLm(lm, slots, frames)
    weights = sum(weight.numel() for weight in lm.transformer.parameters())
    threads = min(torch.get_num_threads(), 1 + weights // THREAD)
    return NativeLm(kernels, lm, slots, frames, precision_of(packed), threads)


def precision_of(packed: str | None) -> Precision | None:
    """Of weights that are packed so, "int8" or "int4"; None is the model's own."""
    return Precision.all(Format[packed.upper()]) if packed else None


def must_not_be(packed: str | None) -> None:
    """Raises UnsupportedError: PyTorch has no such precision."""
    if packed:
        raise UnsupportedError(f"dtype {packed} needs the native CPU kernels, which this model or machine has not")
