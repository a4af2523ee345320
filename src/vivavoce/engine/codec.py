"""The codec of an engine with what it remembers of every slot, in PyTorch or in native code, with one contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from vivavoce.nn.mimi import Mimi
from vivavoce.nn.rows import Rows

from .kernels.codec import NativeEncoder, can_code
from .kernels.library import library


class Encoder(Protocol):
    """Audio to codes, and what is remembered of each slot."""

    @property
    def position(self) -> Tensor:
        """Of each slot in the transformer, two a frame, int64 [slots]."""
        ...

    def encode(self, rows: Rows, audio: Tensor, codebooks: int) -> Tensor:
        """The next frames of these slots, float [B, frames * frame_size], to codes int64 [B, frames, codebooks]."""
        ...

    def prefill(self, audio: Tensor, slot: int, frame: int) -> None:
        """`slot`, which was reset, hears audio float [1, frames * frame_size], as from frame `frame` on."""
        ...

    def reset(self, slot: int) -> None:
        """Forget what `slot` heard."""
        ...


EncoderOf = Callable[[Mimi, int, int], Encoder]  # for so many slots, that bring at most so many frames a call
THREAD = 20_000_000  # weights that are worth a thread


class PlainEncoder:
    """`Encoder` in PyTorch, on any device."""

    def __init__(self, mimi: Mimi, slots: int, frames: int) -> None:
        self._mimi, self._state = mimi, mimi.encoder_state(slots, frames)

    @property
    def position(self) -> Tensor:
        return self._state.transformer.position

    def encode(self, rows: Rows, audio: Tensor, codebooks: int) -> Tensor:
        return self._mimi.encode(audio, self._state, rows, codebooks)

    def prefill(self, audio: Tensor, slot: int, frame: int) -> None:
        self._mimi.prefill(audio, self._state, slot, frame)

    def reset(self, slot: int) -> None:
        self._state.reset(slot)


def fastest_encoder(mimi: Mimi, slots: int, frames: int) -> Encoder:
    """Native code where it can be, with at most as many threads as PyTorch uses."""
    kernels = library() if can_code(mimi) else None
    if kernels is None:
        return PlainEncoder(mimi, slots, frames)
    parts = mimi.encoder, mimi.encoder_transformer, mimi.quantizer
    weights = sum(weight.numel() for part in parts for weight in part.parameters())
    return NativeEncoder(kernels, mimi, slots, frames, threads=min(torch.get_num_threads(), 1 + weights // THREAD))
