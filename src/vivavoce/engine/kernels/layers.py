"""Layers of a gated transformer as the kernels read them (`Layer` of model.h)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import structures
from .library import Library
from .packing import CHANNELS, GROUP, Format, Packed, pack, padded


class Packer:
    """Packs the matrices of layers with these heads into a format, and keeps the memory that structs point to."""

    def __init__(self, library: Library, dim: int, heads: int, format: Format) -> None:
        self._library = library
        self.heads, self.head_dim, self.format = heads, dim // heads, format
        self.head_width = padded(self.head_dim, CHANNELS)
        self._kept = list[object]()

    @property
    def bytes(self) -> int:
        """Of all that was packed or is read as it is."""
        packed = [part for kept in self._kept if isinstance(kept, Packed) for part in (kept.data, kept.scales)]
        return sum(part.nbytes for part in [*packed, *self._kept] if isinstance(part, Tensor))

    def layer(self, norms: tuple[Tensor, Tensor], qkv: Tensor, out: Tensor, inner: Tensor, outer: Tensor,
              rotated: bool) -> structures.Layer:  # fmt: skip
        """Weights [outputs, inputs]; `rotated` layers turn queries and keys by their position."""
        query, key, value = qkv.detach().chunk(3)
        turned = self.in_halves if rotated else self.in_heads
        return structures.Layer(
            *(self.vector(norm) for norm in norms),
            self.matrix(torch.cat([turned(query), turned(key), self.in_heads(value)])),
            self.from_heads(out),
            self.matrix(_in_turn(inner.detach())),
            self.matrix(_padded_rows(outer.detach())),
        )

    def matrix(self, weight: Tensor, format: Format | None = None, to: int = GROUP) -> structures.Matrix:
        return self.packed(weight, self.format if format is None else format, to).struct

    def packed(self, weight: Tensor, format: Format, to: int) -> Packed:
        packed = pack(self._library, weight, format, to)
        self._kept.append(packed)
        return packed

    def vector(self, weight: Tensor) -> int:
        """fp32, padded with zeros to whole groups."""
        return self.table(F.pad(weight.detach().float(), (0, padded(len(weight), GROUP) - len(weight))))

    def table(self, rows: Tensor) -> int:
        """As it is."""
        rows = rows.detach().contiguous()
        self._kept.append(rows)
        return rows.data_ptr()

    def from_heads(self, weight: Tensor) -> structures.Matrix:
        """[outputs, heads * head_dim], of an attention's output."""
        return self.matrix(_padded_rows(self.in_heads(weight.detach().T).T))

    def in_heads(self, weight: Tensor) -> Tensor:
        """Rows [heads * head_dim] to [heads * head_width], with rows of zeros."""
        heads = weight.unflatten(0, (self.heads, self.head_dim))
        return F.pad(heads, (0, 0, 0, self.head_width - self.head_dim)).flatten(0, 1)

    def in_halves(self, weight: Tensor) -> Tensor:
        """Also with a head's even rows, which RoPE turns with the odd ones, in its first half."""
        pairs = weight.unflatten(0, (self.heads, self.head_dim // 2, 2)).transpose(1, 2)
        room = (self.head_width - self.head_dim) // 2
        return F.pad(pairs, (0, 0, 0, room)).flatten(0, 2)


def _padded_rows(weight: Tensor) -> Tensor:
    return F.pad(weight, (0, 0, 0, padded(weight.shape[0], GROUP) - weight.shape[0]))


def _in_turn(weight: Tensor) -> Tensor:
    """[gate; up] with 16 rows of each in turn, each padded to whole groups: they are the next product's inputs."""
    gate, up = (_padded_rows(half).unflatten(0, (-1, CHANNELS)) for half in weight.chunk(2))
    return torch.stack([gate, up], 1).flatten(0, 2)
