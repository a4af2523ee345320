"""Causal convolutions in channels-last layout, [batch, time, channels], offline or streaming with one forward.

spec/model.md §1.2 to 1.4: causal, zero padding on the left; `downsample` alone replicates its first input.
Weights are kept as [out, kernel, in], which is both what a matrix product over a window and what oneDNN's
channels-last convolution read without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rows import Rows


@dataclass
class ConvState:
    """What a causal convolution remembers: the last (kernel - stride) inputs of every slot."""

    tail: Tensor  # [slots, kernel - stride, in]
    fresh: Tensor  # bool [slots], true until the first call

    def reset(self, slot: int) -> None:
        self.tail[slot] = 0
        self.fresh[slot] = True


class CausalConv1d(nn.Module):
    """x [B, T, in] to [B, T / stride, out]; T a multiple of the stride when streaming."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, bias: bool = True, replicate: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.replicate = stride, replicate
        self.context = kernel - stride
        self.weight = nn.Parameter(torch.empty(outputs, kernel, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def state(self, slots: int) -> ConvState:
        tail = self.weight.new_zeros(slots, self.context, self.weight.shape[2])
        return ConvState(tail, torch.ones(slots, dtype=torch.bool, device=tail.device))

    def forward(self, x: Tensor, state: ConvState | None = None, rows: Rows | None = None) -> Tensor:
        if self.context:
            x = torch.cat([self._left(x, state, rows), x], 1)
            if state is not None and rows is not None:
                rows.write(state.tail, x[:, -self.context :])
        weight = self.weight.permute(0, 2, 1).unsqueeze(2)
        y = F.conv2d(x.transpose(1, 2).unsqueeze(2), weight, self.bias, (1, self.stride))
        return y.squeeze(2).transpose(1, 2)

    def _left(self, x: Tensor, state: ConvState | None, rows: Rows | None) -> Tensor:
        first = x[:, :1].expand(-1, self.context, -1) if self.replicate else None
        if state is None or rows is None:
            return x.new_zeros(x.shape[0], self.context, x.shape[2]) if first is None else first
        tail = rows.read(state.tail)
        if first is None:
            return tail
        fresh = rows.read(state.fresh)
        left = torch.where(fresh[:, None, None], first, tail)
        rows.write(state.fresh, torch.zeros_like(fresh))
        return left


@dataclass
class OverlapState:
    """The half of the last transposed-convolution output that is still to be added, without bias."""

    tail: Tensor  # [slots, 1, stride, out]

    def reset(self, slot: int) -> None:
        self.tail[slot] = 0


class CausalConvTranspose1d(nn.Module):
    """x [B, T, in] to [B, T * stride, out] with kernel = 2 * stride: each input overlaps only its successor.

    `depthwise` is the codec's `upsample`: one kernel a channel.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, bias: bool = True, depthwise: bool = False) -> None:
        super().__init__()
        assert not depthwise or inputs == outputs
        self.stride, self.outputs, self.depthwise = stride, outputs, depthwise
        self.weight = nn.Parameter(torch.empty(1 if depthwise else inputs, 2 * stride, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def state(self, slots: int) -> OverlapState:
        return OverlapState(self.weight.new_zeros(slots, 1, self.stride, self.outputs))

    def forward(self, x: Tensor, state: OverlapState | None = None, rows: Rows | None = None) -> Tensor:
        batch, time, _ = x.shape
        if self.depthwise:
            y = x[:, :, None] * self.weight
        else:
            y = (x @ self.weight.flatten(1)).view(batch, time, 2 * self.stride, self.outputs)
        now, later = y[:, :, : self.stride], y[:, :, self.stride :]
        if state is None or rows is None:
            before = torch.zeros_like(later[:, :1])
        else:
            before = rows.read(state.tail).clone()
            rows.write(state.tail, later[:, -1:])
        y = (now + torch.cat([before, later[:, :-1]], 1)).flatten(1, 2)
        return y if self.bias is None else y + self.bias
