"""Between codes as the codec has them, one column a frame, and as the LM hears and says them, one column a step.

spec/model.md §2.7, §4.3: codebook q of frame f belongs to step f + lead + delays[q], `lead` being the steps by which
the audio follows the text. Before that there is the start token for delays[q] steps, and then nothing (-1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def skew(codes: Tensor, delays: Sequence[int], lead: int, card: int) -> Tensor:
    """codes int64 [..., frames, n_q] to columns [..., frames + lead + max(delays), n_q].

    Where a codebook has no frame left at the end it has nothing (-1).
    """
    frames = codes.shape[-2]
    columns = codes.new_full((*codes.shape[:-2], frames + lead + max(delays), codes.shape[-1]), -1)
    for q, delay in enumerate(delays):
        columns[..., :delay, q] = card
        columns[..., delay + lead : delay + lead + frames, q] = codes[..., q]
    return columns


def unskew(columns: Tensor, delays: Sequence[int]) -> Tensor:
    """columns int64 [..., steps, n_q] to frames [..., steps - max(delays), n_q]; the first `lead` of them mean nothing.

    Step t completes frame t - max(delays).
    """
    frames = max(0, columns.shape[-2] - max(delays))
    parts = [columns[..., delay : delay + frames, q] for q, delay in enumerate(delays)]
    return torch.stack(parts, -1)
