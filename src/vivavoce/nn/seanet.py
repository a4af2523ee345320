"""SEANet, the convolutional part of Mimi (spec/model.md §1.2, §1.3), channels-last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from .conv import CausalConv1d, CausalConvTranspose1d, ConvState, OverlapState
from .rows import Rows

SeanetState = list[ConvState | OverlapState]


class Residual(nn.Module):
    """x + conv1(ELU(conv3(ELU(x)))), narrowing to half the channels inside."""

    def __init__(self, channels: int, inner: int, kernel: int) -> None:
        super().__init__()
        self.narrow = CausalConv1d(channels, inner, kernel)
        self.widen = CausalConv1d(inner, channels, 1)

    def state(self, slots: int) -> ConvState:
        return self.narrow.state(slots)

    def forward(self, x: Tensor, state: ConvState | None = None, rows: Rows | None = None) -> Tensor:
        return x + self.widen(F.elu(self.narrow(F.elu(x), state, rows)))


Block = CausalConv1d | CausalConvTranspose1d | Residual


class Seanet(nn.Module):
    """A chain of convolutions and residual blocks, with ELU before every convolution but the first."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def state(self, slots: int) -> SeanetState:
        return [cast("Block", block).state(slots) for block in self.blocks]

    def forward(self, x: Tensor, state: SeanetState | None = None, rows: Rows | None = None) -> Tensor:
        for i, block in enumerate(self.blocks):
            if i and not isinstance(block, Residual):
                x = F.elu(x)
            x = block(x, None if state is None else state[i], rows)
        return x


def encoder(filters: int, ratios: Sequence[int], dimension: int, kernels: tuple[int, int, int]) -> Seanet:
    """Audio [B, T, 1] to latent [B, T / prod(ratios), dimension].

    `kernels` are those of the first convolution, the residual blocks and the last convolution.
    """
    first, residual, last = kernels
    blocks: list[Block] = [CausalConv1d(1, filters, first)]
    for ratio in ratios:
        blocks += [Residual(filters, filters // 2, residual), CausalConv1d(filters, 2 * filters, 2 * ratio, ratio)]
        filters *= 2
    return Seanet([*blocks, CausalConv1d(filters, dimension, last)])


def decoder(filters: int, ratios: Sequence[int], dimension: int, kernels: tuple[int, int, int]) -> Seanet:
    """Latent [B, T, dimension] to audio [B, T * prod(ratios), 1]; `ratios` and `filters` as for the encoder.

    `kernels` are again first, residual, last: the decoder too begins with the widest one (spec/model.md §1.3).
    """
    first, residual, last = kernels
    filters <<= len(ratios)
    blocks: list[Block] = [CausalConv1d(dimension, filters, first)]
    for ratio in reversed(ratios):
        blocks += [CausalConvTranspose1d(filters, filters // 2, ratio)]
        filters //= 2
        blocks += [Residual(filters, filters // 2, residual)]
    return Seanet([*blocks, CausalConv1d(filters, 1, last)])
