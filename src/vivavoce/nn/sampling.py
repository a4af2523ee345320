"""Choosing the next token: greedy, or sampled with noise that is a pure function of (seed, step, token).

A stream's draws therefore never depend on its neighbours, its slot or the device, and nothing has to be kept to
resume them (spec/model.md §5 asks for as much).
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def choose(logits: Tensor, temperature: Tensor, seed: Tensor, step: Tensor, top_k: int = 0) -> tuple[Tensor, Tensor]:
    """logits fp32 [B, V] to tokens int64 [B] and their log-probabilities at temperature 1, fp32 [B].

    temperature fp32 [B]: 0 takes the most probable token. seed and step: int64 [B]. top_k 0 keeps every token.
    """
    logprobs = logits.log_softmax(-1)
    token = logits.argmax(-1)
    if bool((temperature > 0).any()):
        kept = logits if top_k == 0 else logits.masked_fill(logits < _smallest_kept(logits, top_k), -torch.inf)
        # Exponential race: argmax p_i / E_i with E_i ~ Exp(1) draws i with probability p_i.
        race = kept / temperature.clamp_min(1e-6)[:, None] - exponential(seed, step, logits.shape[-1]).log()
        token = torch.where(temperature > 0, race.argmax(-1), token)
    return token, logprobs.gather(-1, token[:, None])[:, 0]


def exponential(seed: Tensor, step: Tensor, size: int) -> Tensor:
    """Exp(1) draws, fp32 [B, size], from int64 seeds and steps [B]."""
    key = _mix(_mix(seed & _MASK) ^ (seed >> 32 & _MASK)) ^ _mix(step & _MASK)
    bits = _mix(key[:, None] ^ _mix(torch.arange(size, device=seed.device) + 0x9E3779B9))
    uniform = (bits.double() + 0.5) / 2**32
    return -torch.log(uniform).float()


def _mix(x: Tensor) -> Tensor:
    """A 32-bit finaliser (two rounds of multiply and shift) on int64 tensors."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x = x ^ (x >> shift)
        x = (x * factor) & _MASK
    return x ^ (x >> 15)


def _smallest_kept(logits: Tensor, top_k: int) -> Tensor:
    return logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
