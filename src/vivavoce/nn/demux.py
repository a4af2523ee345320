"""Text ids: the one that stands for nothing, and pairs of two text streams in one id (spec/model.md §2.2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def demultiplex(ids: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pairs (second + 1) * count + first, int64, to their parts; -1 stands for nothing, as a part or as the whole."""
    nothing = ids < 0
    return (ids % count).masked_fill(nothing, -1), (ids // count - 1).masked_fill(nothing, -1)


def multiplex(first: int, second: int, count: int) -> int:
    """The id of a pair; `second` is -1 where there is nothing."""
    return (second + 1) * count + first


def lookup(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of a table [rows, dim] for ids [...]; zeros for -1."""
    return F.embedding(ids.clamp_min(0), table).masked_fill((ids < 0)[..., None], 0.0)
