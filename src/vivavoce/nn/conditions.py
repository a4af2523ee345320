"""What a stream is conditioned on, evaluated once when it opens (spec/model.md §2.6), in fp32 whatever the LM's dtype.

A conditioner projects its input and puts a learnt padding where there is none. The sum of some is added to every
input of the LM; the others, one after the other, are what its cross-attention looks at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .demux import lookup


@dataclass(frozen=True)
class ConditionerConfig:
    """One conditioner. With `bins` it looks up one of `values`, else it takes vectors of width `dim`."""

    name: str
    dim: int
    bins: int = 0
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConditionsConfig:
    """All conditioners of an LM of width `dim`, and which are added and which attended to, by name."""

    dim: int
    conditioners: tuple[ConditionerConfig, ...] = ()
    added: tuple[str, ...] = ()
    crossed: tuple[str, ...] = ()
    positions: bool = False  # a sinusoidal position is added to what is attended to
    scale: float = 1.0  # of these positions

    def get(self, name: str) -> ConditionerConfig | None:
        """The conditioner of that name, if there is one."""
        return next((c for c in self.conditioners if c.name == name), None)


@dataclass(frozen=True)
class Given:
    """Inputs of a vector conditioner."""

    vectors: Tensor  # float [B, T, dim]
    heard: Tensor  # bool [B, T]: where false, the learnt padding takes the place


@dataclass(frozen=True)
class Fused:
    """What the LM is given, in fp32."""

    added: Tensor | None = None  # [B, 1, dim]
    source: Tensor | None = None  # [B, T, dim]

    def to(self, dtype: torch.dtype) -> Fused:
        """The same for an LM of another dtype."""
        return Fused(*(None if part is None else part.to(dtype) for part in (self.added, self.source)))


class Conditioner(nn.Module):
    """projection(input) where there is one, a learnt padding where not."""

    def __init__(self, config: ConditionerConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Parameter(torch.randn(config.bins + 1, config.dim)) if config.bins else None
        self.project = nn.Linear(config.dim, dim, bias=False)
        self.padding = nn.Parameter(torch.randn(dim).mul_(0.2))

    def ids(self, values: Sequence[str | None]) -> Tensor:
        """Rows of the table, int64 [B], -1 for None. Raises ValueError for a value that is not one of its own."""
        known = self.config.values
        for value in values:
            if value is not None and value not in known:
                raise ValueError(f"{self.config.name} {value!r} is not one of {', '.join(known)}")
        return torch.tensor([-1 if v is None else known.index(v) for v in values], device=self.padding.device)

    def forward(self, given: Tensor | Given) -> Tensor:
        """ids int64 [B] (-1: none) or vectors [B, T, dim] to [B, T, dim of the LM], T being 1 for ids."""
        if isinstance(given, Given):
            vectors, heard = given.vectors, given.heard
        else:
            assert self.table is not None
            vectors, heard = lookup(self.table, given[:, None]), given[:, None] >= 0
        return torch.where(heard[..., None], self.project(vectors), self.padding)


class Conditions(nn.Module):
    """All conditioners of a model and how they are fused; may have none."""

    def __init__(self, config: ConditionsConfig) -> None:
        super().__init__()
        self.config = config
        self.conditioners = nn.ModuleDict({c.name: Conditioner(c, config.dim) for c in config.conditioners})

    def __getitem__(self, name: str) -> Conditioner:
        return cast("Conditioner", self.conditioners[name])

    def forward(self, given: Mapping[str, Tensor | Given]) -> Fused:
        """Inputs by name, for every conditioner, to what the LM is given."""
        out = {name: conditioner(given[name]) for name, conditioner in self.conditioners.items()}
        added, crossed = ([out[name] for name in names] for names in (self.config.added, self.config.crossed))
        source = torch.cat(crossed, 1) if crossed else None
        if source is not None and self.config.positions:
            source = source + self.config.scale * sinusoids(source.shape[1], source.shape[2], source.device)
        return Fused(torch.stack(added).sum(0) if added else None, source)


def sinusoids(length: int, dim: int, device: torch.device) -> Tensor:
    """Absolute positions, fp32 [length, dim]: cosines, then sines."""
    half = dim // 2
    periods = torch.pow(10_000.0, torch.arange(half, device=device) / (half - 1))
    phase = torch.arange(length, device=device)[:, None] / periods
    return torch.cat([phase.cos(), phase.sin()], -1)


def pad_sources(vectors: Sequence[Tensor], slots: int, length: int, dim: int, device: torch.device) -> Given:
    """Up to `slots` recordings [<= length, dim] side by side as one `Given` [1, slots * length, dim].

    All slots are always there (spec §9.16); what is empty is not heard.
    """
    padded = [F.pad(v, (0, 0, 0, length - len(v))) for v in vectors]
    padded += [torch.zeros(length, dim, device=device)] * (slots - len(padded))
    ends = torch.tensor([len(v) for v in vectors] + [0] * (slots - len(vectors)), device=device)
    heard = torch.arange(length, device=device) < ends[:, None]
    return Given(torch.cat(padded)[None], heard.flatten()[None])
