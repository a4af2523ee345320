"""The small transformer over the codebooks of one step (spec/model.md §2.5): the LM's hidden state in, codes out.

Causal over the codebooks, without positions, and with weights of its own for each codebook or run of codebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import KvRing
from .demux import demultiplex, lookup
from .transformer import RmsNorm

Runs = Sequence[tuple[int, int]]  # a set of weights and for how many neighbouring codebooks it is used


@dataclass(frozen=True)
class DepformerConfig:
    """Sizes."""

    dim: int
    num_heads: int
    num_layers: int
    hidden: int
    schedule: tuple[int, ...]  # the set of weights that each codebook uses, [dep_q]
    rank: int = 0  # width of the embedding tables, widened to `dim` by a matrix; 0: tables of `dim`

    @property
    def dep_q(self) -> int:
        """How many codebooks it generates."""
        return len(self.schedule)

    @property
    def sets(self) -> int:
        """How many sets of weights there are."""
        return max(self.schedule) + 1

    @property
    def runs(self) -> Runs:
        """The schedule, equal neighbours taken together."""
        return [(index, len(list(same))) for index, same in groupby(self.schedule)]


class StepLinear(nn.Module):
    """A matrix for each set of weights."""

    def __init__(self, sets: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = _normal(sets, outputs, inputs)

    def forward(self, x: Tensor, runs: Runs) -> Tensor:
        """x [N, codebooks, inputs] to [N, codebooks, outputs]; `runs` covers the codebooks in order."""
        parts = zip(x.split([length for _, length in runs], 1), runs, strict=True)
        return torch.cat([F.linear(part, self.weight[index]) for part, (index, _) in parts], 1)


class DepformerLayer(nn.Module):
    """A gated transformer layer whose matrices, but not its norms, depend on the codebook."""

    def __init__(self, config: DepformerConfig) -> None:
        super().__init__()
        dim, sets = config.dim, config.sets
        self.heads = config.num_heads
        self.norm1, self.norm2 = RmsNorm(dim), RmsNorm(dim)
        self.qkv, self.out = StepLinear(sets, dim, 3 * dim), StepLinear(sets, dim, dim)
        self.inner, self.outer = StepLinear(sets, dim, 2 * config.hidden), StepLinear(sets, config.hidden, dim)

    def forward(self, x: Tensor, runs: Runs) -> Tensor:
        """x [N, codebooks, dim], all of them at once."""
        q, k, v = self.qkv(self.norm1(x), runs).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        heard = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(heard.transpose(1, 2).flatten(2), runs)
        gate, up = self.inner(self.norm2(x), runs).chunk(2, -1)
        return x + cast("Tensor", self.outer(F.silu(gate) * up, runs))

    def weights(self) -> list[tuple[Tensor, ...]]:
        """The matrices of each set, as `step` takes them."""
        parts = (self.qkv.weight, self.out.weight.mT, self.inner.weight, self.outer.weight.mT)
        return list(zip(*(part.unbind(0) for part in parts), strict=True))

    def step(self, x: Tensor, weights: tuple[Tensor, ...], memory: KvRing, at: int) -> Tensor:
        """x [N, dim] of codebook `at` alone, after a step of each before it: `forward` with as few calls as can be."""
        qkv, out, inner, outer = weights
        q, k, v = F.linear(self.norm1(x), qkv).view(len(x), 3, self.heads, -1).unbind(1)
        memory.keys[:, :, at], memory.values[:, :, at] = k, v
        if at:  # the first one hears only itself
            heard = slice(at + 1)
            v = F.scaled_dot_product_attention(q[:, :, None], memory.keys[:, :, heard], memory.values[:, :, heard])
        x = torch.addmm(x, v.reshape(x.shape), out)
        gate, up = F.linear(self.norm2(x), inner).chunk(2, -1)
        return torch.addmm(x, F.silu(gate).mul_(up), outer)


class Depformer(nn.Module):
    """For codebook k: hidden state and code k - 1 (the text token for k = 0) in, logits of code k out."""

    def __init__(self, config: DepformerConfig, width: int, card: int, text_card: int, demux: bool) -> None:
        """`width` of the LM's hidden state; `card` and `text_card` are ids of start tokens, the last rows of tables."""
        super().__init__()
        self.config, self.text_card, self.demux = config, text_card, demux
        dim, rank, later = config.dim, config.rank or config.dim, config.dep_q - 1
        self.project = _normal(config.sets, dim, width)
        self.text_table = _normal(text_card + 1, rank)
        self.text_widen = _normal(2 if demux else 1, dim, rank) if demux or config.rank else None
        self.tables = _normal(later, card + 1, rank)
        self.widen = _normal(later, dim, rank) if config.rank else None
        self.layers = nn.ModuleList(DepformerLayer(config) for _ in range(config.num_layers))
        self.heads = _normal(config.dep_q, card, dim)

    def forward(self, hidden: Tensor, text: Tensor, codes: Tensor) -> Tensor:
        """Teacher-forced: hidden [..., width], text int64 [...], codes int64 [..., dep_q] to logits [..., dep_q, card].

        The text token and the codes are those of the same step; id -1 adds nothing.
        """
        config, shape = self.config, codes.shape
        projected = self._projected(hidden.flatten(0, -2))[:, list(config.schedule)]
        known = [self._embed(k, code) for k, code in enumerate(codes.flatten(0, -2)[:, :-1].unbind(1))]
        x = projected + torch.stack([self._embed_text(text.flatten()), *known], 1)
        for layer in self.layers:
            x = layer(x, config.runs)
        return torch.einsum("nkd,kcd->nkc", x, self.heads).unflatten(0, shape[:-1])

    def generate(
        self, hidden: Tensor, text: Tensor, pick: Callable[[Tensor, int], Tensor], codebooks: int | None = None
    ) -> Tensor:
        """hidden [N, width] and text int64 [N] to codes int64 [N, codebooks], by default all dep_q.

        `pick` is given the logits [N, card] of codebook k and k, and chooses its codes int64 [N].
        """
        config, count = self.config, codebooks or self.config.dep_q
        shape = (len(hidden), config.num_heads, count, config.dim // config.num_heads)
        memories = [KvRing(hidden.new_empty(shape), hidden.new_empty(shape)) for _ in self.layers]
        layers = cast("list[DepformerLayer]", list(self.layers))
        weights = [layer.weights() for layer in layers]
        projected, embedded, codes = self._projected(hidden), self._embed_text(text), list[Tensor]()
        for k, index in enumerate(config.schedule[:count]):
            x = projected[:, index] + embedded
            for layer, of_sets, memory in zip(layers, weights, memories, strict=True):
                x = layer.step(x, of_sets[index], memory, k)
            codes.append(pick(F.linear(x, self.heads[k]), k))
            if k + 1 < count:
                embedded = self._embed(k, codes[-1])
        return torch.stack(codes, 1)

    def _projected(self, hidden: Tensor) -> Tensor:
        """[N, width] to [N, sets, dim]."""
        return F.linear(hidden, self.project.flatten(0, 1)).unflatten(1, self.project.shape[:2])

    def _embed(self, k: int, code: Tensor) -> Tensor:
        embedded = lookup(self.tables[k], code)
        return embedded if self.widen is None else F.linear(embedded, self.widen[k])

    def _embed_text(self, text: Tensor) -> Tensor:
        if self.text_widen is None:
            return lookup(self.text_table, text)
        streams = demultiplex(text, self.text_card + 1) if self.demux else (text,)
        parts = [F.linear(lookup(self.text_table, s), w) for s, w in zip(streams, self.text_widen, strict=True)]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _normal(*shape: int) -> nn.Parameter:
    # In place: of a product, and of normal_, PyTorch asks its compiler on the meta device, seconds of imports.
    return nn.Parameter(torch.randn(shape).mul_(shape[-1] ** -0.5))
