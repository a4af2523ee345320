"""The causal transformer, in the codec's flavour (LayerNorm, GELU, LayerScale) and the LM's (RMSNorm, gated SiLU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention, CrossAttention, KvRing, Window, rotations
from .rows import Rows


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and the flavour of a stack."""

    dim: int
    heads: int
    layers: int
    hidden: int  # width inside the feed-forward part
    context: int  # positions a query sees, itself included
    max_period: float
    gated: bool  # True: RMSNorm and gated SiLU (LM); False: LayerNorm, GELU and LayerScale (codec)
    cross: bool = False  # every layer also attends to the stream's conditions


class RmsNorm(nn.Module):
    """spec/model.md §2.1 `rms_norm_f32`: mean of squares plus 1e-8, in fp32, cast back."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.alpha.shape, self.alpha.float(), 1e-8).to(x.dtype)


class GatedFeedForward(nn.Module):
    """W_out(SiLU(gate) * up); rows of `inner` are [gate; up]."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, 2 * hidden, bias=False)
        self.outer = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.inner(x).chunk(2, -1)
        return self.outer(F.silu(gate) * up)


class GeluFeedForward(nn.Module):
    """W_2 GELU(W_1 x) with the exact erf."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, hidden, bias=False)
        self.outer = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(F.gelu(self.inner(x)))


class LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((dim,), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Layer(nn.Module):
    """Each added to what goes in: scaled attention, cross-attention where there is one, scaled feed-forward."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.norm1, self.norm2 = (RmsNorm(dim) if config.gated else nn.LayerNorm(dim) for _ in range(2))
        self.scale1, self.scale2 = (nn.Identity() if config.gated else LayerScale(dim) for _ in range(2))
        self.attention = Attention(dim, config.heads)
        self.norm_cross = nn.LayerNorm(dim) if config.cross else None
        self.cross = CrossAttention(dim, config.heads) if config.cross else None
        self.feed_forward = (GatedFeedForward if config.gated else GeluFeedForward)(dim, config.hidden)

    def ring(self, slots: int, capacity: int) -> KvRing:
        """Room for the keys and values of `capacity` positions of every slot."""
        return self.attention.ring(slots, capacity, next(self.norm1.parameters()).detach())

    def forward(
        self, x: Tensor, rotation: Tensor, window: Window | Tensor, ring: KvRing | None, source: KvRing | None = None
    ) -> Tensor:
        x = x + self.scale1(self.attention(self.norm1(x), rotation, window, ring))
        if self.cross is not None and self.norm_cross is not None:
            assert source is not None, "this model must be given its conditions"
            x = x + self.cross(self.norm_cross(x), source, window.rows if isinstance(window, Window) else None)
        return x + self.scale2(self.feed_forward(self.norm2(x)))


@dataclass
class TransformerState:
    """Positions seen by each slot and every layer's ring, whose stale entries are masked by position."""

    position: Tensor  # int64 [slots]
    oldest: Tensor  # int64 [slots]: the first position that was heard; 0 but for a restored stream
    rings: list[KvRing]
    sources: list[KvRing]  # every layer's view of the conditions, of each slot; none without cross-attention

    def reset(self, slot: int) -> None:
        self.position[slot] = 0
        self.oldest[slot] = 0
        for ring in self.rings:  # a mask hides numbers, but not NaN: 0 * NaN would reach the slot's next user
            ring.keys[slot] = 0
            ring.values[slot] = 0

    def adopt(self, slot: int, other: TransformerState) -> None:
        """Continue in `slot`, which was reset, where the only slot of `other` stands."""
        first, last = int(other.oldest), int(other.position)
        self.oldest[slot], self.position[slot] = first, last
        capacity, longer = (state.rings[0].keys.shape[2] for state in (self, other))
        positions = torch.arange(max(first, last - capacity), last, device=self.position.device)
        for mine, theirs in zip(self.rings, other.rings, strict=True):
            mine.keys[slot][:, positions % capacity] = theirs.keys[0][:, positions % longer]
            mine.values[slot][:, positions % capacity] = theirs.values[0][:, positions % longer]


class Transformer(nn.Module):
    """x [B, T, dim] to [B, T, dim], offline without a state or streaming with one."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def state(self, slots: int, chunk: int = 1, source: int = 0) -> TransformerState:
        """A state for calls of at most `chunk` positions, with conditions of length `source`."""
        capacity, layers = self.config.context + chunk - 1, cast("list[Layer]", self.layers)
        rings = [layer.ring(slots, capacity) for layer in layers]
        sources = [layer.ring(slots, source) for layer in layers] if source else []
        position = torch.zeros(slots, dtype=torch.long, device=rings[0].keys.device)
        return TransformerState(position, torch.zeros_like(position), rings, sources)

    def attend(self, source: Tensor, state: TransformerState, slot: int) -> None:
        """From now on `slot` is conditioned on `source` [1, length, dim]."""
        for projected, kept in zip(self._project(source), state.sources, strict=True):
            kept.keys[slot], kept.values[slot] = projected.keys[0], projected.values[0]

    def prefill(self, x: Tensor, state: TransformerState, slot: int, position: int) -> Tensor:
        """One pass over x [1, T, dim], T >= 1, at `position` and on; `slot`, which was reset, then goes on after it.

        T may be longer than the chunk of `state`. What lies before `position` is not seen, now or later.
        """
        ahead = self.state(1, x.shape[1])
        ahead.sources = [KvRing(kept.keys[slot, None], kept.values[slot, None]) for kept in state.sources]
        ahead.position[0] = ahead.oldest[0] = position
        x = self(x, ahead, Rows([0], x.device))
        state.adopt(slot, ahead)
        return x

    def forward(
        self,
        x: Tensor,
        state: TransformerState | None = None,
        rows: Rows | None = None,
        source: Tensor | None = None,
    ) -> Tensor:
        """`source` [B, length, dim] are the conditions of an offline pass; a streaming one has them in its state."""
        config, steps = self.config, torch.arange(x.shape[1], device=x.device)
        rings: list[KvRing] | list[None]
        sources: list[KvRing] | list[None]
        window: Window | Tensor
        if state is None or rows is None:
            positions, rings = steps[None], [None] * config.layers
            sources = [None] * config.layers if source is None else self._project(source)
            back = steps[:, None] - steps
            window = (back >= 0) & (back < config.context)
        else:
            rings, sources = state.rings, state.sources or [None] * config.layers
            positions = rows.read(state.position)[:, None] + steps
            oldest, capacity = rows.read(state.oldest), rings[0].keys.shape[2]
            window = Window.of(rows, positions, oldest, config.context, capacity, x.dtype)
            rows.write(state.position, positions[:, -1] + 1)
        rotation = rotations(positions, config.dim // config.heads, config.max_period)
        for layer, ring, heard in zip(self.layers, rings, sources, strict=True):
            x = layer(x, rotation, window, ring, heard)
        return x

    def _project(self, source: Tensor) -> list[KvRing]:
        return [cast("CrossAttention", layer.cross).project(source) for layer in cast("list[Layer]", self.layers)]
