"""Choosing the next token: greedy, or sampled with noise that is a pure function of (seed, step, codebook, token).

A stream's draws therefore never depend on its neighbours, its slot or the device, and nothing has to be kept to
resume them (spec/model.md §5 asks for as much).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9
TIES = 32  # candidates beyond the largest top-k: which of equal ones stay must not depend on another row's top-k


def choose(logits: Tensor, temperature: Tensor, seed: Tensor, step: Tensor, top_k: int = 0) -> tuple[Tensor, Tensor]:
    """logits fp32 [B, V] to tokens int64 [B] and their log-probabilities at temperature 1, fp32 [B].

    temperature fp32 [B]: 0 takes the most probable token. seed and step: int64 [B]. top_k 0 keeps every token.
    """
    logprobs = logits.log_softmax(-1)
    token = logits.argmax(-1)
    if bool((temperature > 0).any()):
        kept = logits if top_k == 0 else logits.masked_fill(logits < _smallest_kept(logits, top_k), -torch.inf)
        # Exponential race: argmax p_i / E_i with E_i ~ Exp(1) draws i with probability p_i.
        race = (
            kept / temperature.clamp_min(1e-6)[:, None]
            - exponential(keys(seed, step), torch.arange(logits.shape[-1], device=seed.device)).log()
        )
        token = torch.where(temperature > 0, race.argmax(-1), token)
    return token, logprobs.gather(-1, token[:, None])[:, 0]


@dataclass(frozen=True)
class Sampling:
    """How each row of a batch is sampled."""

    temperature: Tensor  # fp32 [B]; 0 takes the most probable token
    top_k: Tensor  # int64 [B]; 0 keeps every token
    top_p: Tensor  # fp32 [B]; 0 keeps every token; of what top-k left
    greedy: bool  # so are all rows
    nucleus: bool  # some row has a top-p
    most: int  # the largest top-k; 0 when some row keeps every token

    @classmethod
    def of(
        cls, temperature: Sequence[float], top_k: Sequence[int], top_p: Sequence[float], device: torch.device
    ) -> Sampling:
        """One value a row."""
        return cls(
            torch.tensor(temperature, dtype=torch.float32, device=device),
            torch.tensor(top_k, dtype=torch.long, device=device),
            torch.tensor(top_p, dtype=torch.float32, device=device),
            greedy=not any(temperature),
            nucleus=any(top_p),
            most=max(top_k) if all(top_k) else 0,
        )


def draw(logits: Tensor, sampling: Sampling, key: Tensor, stream: int) -> Tensor:
    """logits fp32 [B, V] to tokens int64 [B]; key as of `keys`, `stream` 0 for text and q + 1 for codebook q."""
    best = logits.argmax(-1)
    if sampling.greedy:
        return best
    count = sampling.most + TIES if sampling.most else logits.shape[-1]
    values, tokens = logits.topk(min(count, logits.shape[-1]))
    warm = sampling.temperature.clamp_min(1e-6)[:, None]
    values = values / warm
    values = values.masked_fill(~_kept(values, sampling), -torch.inf)
    winner = (values - exponential(key, tokens, stream).log()).argmax(-1, keepdim=True)
    return torch.where(sampling.temperature > 0, tokens.gather(-1, winner)[:, 0], best)


def _kept(values: Tensor, sampling: Sampling) -> Tensor:
    """Which of the falling values [B, K] may be drawn, bool."""
    top_k = sampling.top_k[:, None]
    kept = (values >= values.gather(-1, top_k.clamp(1, values.shape[-1]) - 1)) | (top_k == 0)
    if sampling.nucleus:
        top_p, shares = sampling.top_p[:, None], values.masked_fill(~kept, -torch.inf).softmax(-1)
        kept &= (shares.cumsum(-1) - shares <= top_p) | (top_p == 0)
    return kept


def keys(seed: Tensor, step: Tensor) -> Tensor:
    """What the noise of a row's step depends on, int64 [B], from int64 seeds and steps [B]."""
    return _mix(_mix(seed & _MASK) ^ (seed >> 32 & _MASK)) ^ _mix(step & _MASK)


def exponential(key: Tensor, tokens: Tensor, stream: int = 0) -> Tensor:
    """Exp(1) draws, fp32 [B, K], for keys int64 [B] and tokens int64 [K] or [B, K]."""
    if stream:
        key = _mix((key + stream * _GOLDEN) & _MASK)
    bits = _mix(key[:, None] ^ _mix(tokens + _GOLDEN))
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
