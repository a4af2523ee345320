"""The codec of an engine with what it remembers of every slot, in PyTorch or in native code, with one contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from vivavoce.nn.mimi import Mimi
from vivavoce.nn.rows import Rows

from .kernels.codec import NativeDecoder, NativeEncoder, can_code
from .kernels.library import library
from .kernels.packing import Format
from .kernels.weights import Precision


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


class Decoder(Protocol):
    """Codes to audio, and what is remembered of each slot."""

    @property
    def position(self) -> Tensor:
        """As of `Encoder`."""
        ...

    def decode(self, rows: Rows, codes: Tensor) -> Tensor:
        """The next frames of these slots, int64 [B, frames, k], to audio float [B, frames * frame_size]."""
        ...

    def prefill(self, codes: Tensor, slot: int, frame: int) -> None:
        """`slot`, which was reset, says codes int64 [1, frames, k], as from frame `frame` on."""
        ...

    def reset(self, slot: int) -> None:
        """Forget what `slot` said."""
        ...


EncoderOf = Callable[[Mimi, int, int], Encoder]  # for so many slots, that bring at most so many frames a call
DecoderOf = Callable[[Mimi, int, int], Decoder]
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


class PlainDecoder:
    """`Decoder` in PyTorch, on any device."""

    def __init__(self, mimi: Mimi, slots: int, frames: int) -> None:
        self._mimi, self._state = mimi, mimi.decoder_state(slots, frames)

    @property
    def position(self) -> Tensor:
        return self._state.transformer.position

    def decode(self, rows: Rows, codes: Tensor) -> Tensor:
        return self._mimi.decode(codes, self._state, rows)

    def prefill(self, codes: Tensor, slot: int, frame: int) -> None:
        self._mimi.prefill_decoder(codes, self._state, slot, frame)

    def reset(self, slot: int) -> None:
        self._state.reset(slot)


def fastest_encoder(mimi: Mimi, slots: int, frames: int, format: Format = Format.FLOAT32) -> Encoder:
    """Native code where it can be, with at most as many threads as PyTorch uses.

    `format` of weights and what meets them: FLOAT32, BFLOAT16 or INT8; the first convolution is fp32, and the choice of
    codes exact of what is then heard.
    """
    kernels = library() if can_code(mimi) else None
    if kernels is None:
        return PlainEncoder(mimi, slots, frames)
    threads = _threads(mimi.encoder, mimi.encoder_transformer, mimi.quantizer)
    return NativeEncoder(kernels, mimi, slots, frames, Precision.all(format), threads)


def fastest_decoder(mimi: Mimi, slots: int, frames: int) -> Decoder:
    """Likewise."""
    kernels = library() if can_code(mimi) else None
    if kernels is None:
        return PlainDecoder(mimi, slots, frames)
    threads = _threads(mimi.decoder, mimi.decoder_transformer)
    return NativeDecoder(kernels, mimi, slots, frames, threads=threads)


def _threads(*parts: nn.Module) -> int:
    weights = sum(weight.numel() for part in parts for weight in part.parameters())
    return min(torch.get_num_threads(), 1 + weights // THREAD)
