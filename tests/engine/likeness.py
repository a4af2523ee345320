"""Random LMs, and how far apart two answers are; for tests of any path."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vivavoce.nn.lm import Lm, LmConfig


def model(config: LmConfig, seed: int = 0) -> Lm:
    torch.manual_seed(seed)
    lm = Lm(config).eval().requires_grad_(False)
    for parameter in lm.parameters():
        if parameter.ndim >= 2 and parameter.numel():
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        elif parameter.numel():
            nn.init.normal_(parameter, 1, 0.2)
    nn.init.normal_(lm.embeddings)
    lm.embeddings[-1] = 0
    return lm


def error(ours: Tensor, theirs: Tensor) -> float:
    """Relative to the logits, whose own size is about 1."""
    return float((ours - theirs).norm() / theirs.norm().clamp_min(theirs.numel() ** 0.5)) if theirs.numel() else 0.0
