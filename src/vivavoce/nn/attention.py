"""Windowed causal self-attention over a ring of keys and values, one position count for each slot.

spec/model.md §1.5, §2.1: key j is visible to query i iff 0 <= i - j < context. The ring holds `context` plus the
chunk's extra positions, so a chunk never overwrites a key that one of its own queries still sees (the reference's
ring is one short there, §1.9).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rows import Rows


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """RoPE in fp32: x [B, T, heads, dim], whose interleaved pairs are complex numbers; rotation as of `rotations`."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


@cache
def frequencies(dim: int, max_period: float, device: torch.device) -> Tensor:
    """Radians a position, [dim / 2]: float64, because the phase of a stream a day old is off by 0.06 rad in fp32."""
    dtype = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    return torch.pow(max_period, torch.arange(dim // 2, dtype=dtype, device=device) * (-2 / dim))


def rotations(positions: Tensor, dim: int, max_period: float) -> Tensor:
    """Unit complex numbers [B, T, 1, dim / 2] for integer positions [B, T] (spec/model.md §2.1)."""
    angles = positions[..., None, None] * frequencies(dim, max_period, positions.device)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


@dataclass
class KvRing:
    """Keys and values of one layer."""

    keys: Tensor  # [slots, heads, capacity, head_dim]
    values: Tensor


@dataclass
class Window:
    """Where this call's positions go in the ring and what each query sees; shared by all layers."""

    rows: Rows
    targets: Tensor  # [B, T] ring index of every new position
    mask: Tensor  # [B, 1, T, length] in the activations' dtype: 0 where a key is seen, -inf where not
    length: int  # ring prefix that holds anything

    @classmethod
    def of(
        cls, rows: Rows, positions: Tensor, oldest: Tensor, context: int, capacity: int, dtype: torch.dtype
    ) -> Window:
        """positions [B, T]: the absolute positions of the new keys; oldest [B]: the first that the ring has held."""
        last = positions[:, -1:]
        # Reading the count back would stall a GPU; there the whole ring is attended and the mask decides.
        length = min(capacity, int(last.max()) + 1) if positions.device.type == "cpu" else capacity
        ring = torch.arange(length, device=positions.device)
        held = last - (last - ring) % capacity  # absolute position held at each ring index, below `oldest` when none
        back = positions[:, :, None] - held[:, None]
        unseen = (held < oldest[:, None])[:, None] | (back < 0) | (back >= context)
        mask = torch.zeros(unseen.shape, dtype=dtype, device=unseen.device).masked_fill_(unseen, -torch.inf)
        return cls(rows, positions % capacity, mask[:, None], length)


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection, rows [q; k; v], heads-major."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def ring(self, slots: int, capacity: int, like: Tensor) -> KvRing:
        """In the dtype and on the device of `like`; weights may be packed."""
        shape = (slots, self.heads, capacity, self.out.in_features // self.heads)
        return KvRing(like.new_zeros(shape), like.new_zeros(shape))

    def forward(self, x: Tensor, rotation: Tensor, window: Window | Tensor, ring: KvRing | None = None) -> Tensor:
        """x [B, T, dim]; `window` is a bool mask [T, T] offline, a `Window` over `ring` when streaming."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k = rotate(qkv[:, :, :2].flatten(2, 3), rotation).unflatten(2, (2, self.heads)).unbind(2)
        v = qkv[:, :, 2]
        if isinstance(window, Tensor):
            y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), window)
        else:
            assert ring is not None
            y = self._over_ring(q.transpose(1, 2), k, v, window, ring)
        return self.out(y.transpose(1, 2).flatten(2))

    def _over_ring(self, q: Tensor, k: Tensor, v: Tensor, window: Window, ring: KvRing) -> Tensor:
        index = window.rows.index[:, None]
        ring.keys[index, :, window.targets] = k
        ring.values[index, :, window.targets] = v
        heard = slice(window.length)
        return torch.cat(
            [
                F.scaled_dot_product_attention(
                    q[part], ring.keys[run, :, heard], ring.values[run, :, heard], window.mask[part]
                )
                for run, part in zip(window.rows.runs, window.rows.parts, strict=True)
            ]
        )


class CrossAttention(nn.Module):
    """Attention of a stream to its conditions, which are projected once: no positions, no mask (spec/model.md §2.6)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def project(self, source: Tensor) -> KvRing:
        """source [B, length, dim] to what is looked at."""
        kv = F.linear(source, self.qkv.weight[source.shape[-1] :]).unflatten(-1, (2, self.heads, -1))
        keys, values = kv.permute(2, 0, 3, 1, 4).unbind(0)
        return KvRing(keys, values)

    def forward(self, x: Tensor, source: KvRing, rows: Rows | None = None) -> Tensor:
        """x [B, T, dim]; `source` is of the same B, or of all slots where `rows` says which."""
        q = F.linear(x, self.qkv.weight[: x.shape[-1]]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        runs = [(slice(None), slice(None))] if rows is None else zip(rows.runs, rows.parts, strict=True)
        y = [F.scaled_dot_product_attention(q[part], source.keys[run], source.values[run]) for run, part in runs]
        return self.out(torch.cat(y).transpose(1, 2).flatten(2))
