"""Mimi's encoder on a GPU: PyTorch's convolutions, the transformer over reserved memory, the quantiser fused."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from vivavoce.nn.mimi import Mimi
from vivavoce.nn.quantizer import ResidualQuantizer
from vivavoce.nn.rows import Rows
from vivavoce.nn.transformer import GeluFeedForward, Layer

from .kernels.quantiser import quantise
from .memory import Memory, reserved
from .sizes import PAGE, ring_of


class SlotEncoder:
    """`Encoder` over one codec for `slots` streams that bring at most `frames` frames a call.

    All but the quantiser, whose choices are hard, runs in `dtype`, the codec's own if None. Its memory is ten seconds
    of a stream and soon full, so every slot has its own from the beginning.
    """

    def __init__(self, mimi: Mimi, slots: int, frames: int, dtype: torch.dtype | None = None, page: int = PAGE) -> None:
        self.frames, self._frame_size, self._quantizer = frames, mimi.config.frame_size, mimi.quantizer
        parts = mimi.encoder, mimi.encoder_transformer, mimi.downsample
        if dtype not in (None, mimi.downsample.weight.dtype):
            parts = copy.deepcopy(parts)
            for part in parts:
                part.to(dtype)
        self._encoder, self._transformer, self._downsample = parts
        self._seanet, self._tail = self._encoder.state(slots + 1), self._downsample.state(slots + 1)
        config, weight = self._transformer.config, self._downsample.weight
        ring = ring_of(config.context, 2 * frames, page)
        self.memory = reserved(Memory(config, slots, ring, slots * ring, weight.dtype, weight.device, page), slots)
        self._dtype = weight.dtype
        self._precision = precision_of(weight.device)
        self._biases = [half.codebooks.detach().square().sum(-1) * -0.5 for half in self._halves()]

    @property
    def position(self) -> Tensor:
        return self.memory.position

    def _halves(self) -> tuple[ResidualQuantizer, ResidualQuantizer]:
        return self._quantizer.semantic, self._quantizer.acoustic

    def encode(self, rows: Rows, audio: Tensor, codebooks: int) -> Tensor:
        """audio fp32 [B, T * frame_size] of these rows to codes int64 [B, T, codebooks]."""
        latent = self._latent(audio, rows)
        flat = latent.flatten(0, 1).float()
        codes = torch.empty(len(flat), codebooks, dtype=torch.long, device=flat.device)
        for half, biases, mine in zip(self._halves(), self._biases, (codes[:, :1], codes[:, 1:]), strict=True):
            if count := mine.shape[1]:
                quantise(half.project_in(flat), half.codebooks[:count], biases[:count], mine, self._precision)
        return codes.unflatten(0, latent.shape[:2])

    def prefill(self, audio: Tensor, slot: int, frame: int) -> None:
        """`slot`, which was reset, hears audio fp32 [1, T * frame_size], T of any length, from frame `frame` on."""
        self.memory.reset(slot, 2 * frame)
        rows = Rows([slot], audio.device)
        for part in audio.split(self._frame_size * self.frames, 1):
            self._latent(part, rows)

    def reset(self, slot: int) -> None:
        """Forget what `slot` heard."""
        self.memory.reset(slot)
        for part in [*self._seanet, self._tail]:
            part.reset(slot)

    def _latent(self, audio: Tensor, rows: Rows) -> Tensor:
        x = self._encoder(audio.to(self._dtype)[:, :, None], self._seanet, rows)
        x = self._transform(x.flatten(0, 1), x.shape[1], rows).unflatten(0, x.shape[:2])
        return self._downsample(x, self._tail, rows)

    def _transform(self, x: Tensor, count: int, rows: Rows) -> Tensor:
        places = self.memory.places(rows, count)
        for i, layer in enumerate(cast("Sequence[Layer]", self._transformer.layers)):
            heard = self.memory.attend(i, layer.attention.qkv(layer.norm1(x)), places)
            x = x + layer.scale1(layer.attention.out(heard))
            x = x + layer.scale2(cast("GeluFeedForward", layer.feed_forward)(layer.norm2(x)))
        return x


def precision_of(device: torch.device) -> str:
    """Of the quantiser's products: what is exact enough for its choices and as fast as the device has it."""
    modern = device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
    return "tf32x3" if modern else "ieee"
