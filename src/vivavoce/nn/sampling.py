"""Choosing the next token: greedy, or sampled with noise that is a pure function of (seed, step, codebook, token).

A stream's draws therefore never depend on its neighbours, its slot or the device, and nothing has to be kept to
resume them (spec/model.md §5 asks for as much).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9
TIES = 32  # candidates beyond the largest top-k: which of equal ones stay must not depend on another row's top-k


@dataclass(frozen=True)
class Wanted:
    """Tokens that some rows of a batch would rather have than others of the same kind."""

    rows: Tensor  # int64 [R]
    bonus: Tensor  # fp32 [R, V], of the logits
    kinds: Tensor  # int8 [V]; a choice of kind 0 stands


@dataclass(frozen=True)
class Draws:
    """What the rows of a batch draw with; a temperature of 0 draws nothing."""

    temperature: Tensor  # fp32 [B]
    seed: Tensor  # int64 [B]
    step: Tensor  # int64 [B]


def choose(
    logits: Tensor, draws: Draws | None = None, wanted: Wanted | None = None, norm: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """logits fp32 [B, V] to tokens int64 [B] and their log-probabilities at temperature 1, fp32 [B].

    `norm`, fp32 [B], is the logarithm of what e to the logits sums to, where that is known.

    Who does not draw takes the most probable token. What is `wanted` changes no log-probability, nor the kind of the
    token; a draw has the noise that it would have without.
    """
    token, race, temperature = logits.argmax(-1), logits, None
    if draws is not None:
        # Exponential race: argmax p_i / E_i with E_i ~ Exp(1) draws i with probability p_i.
        temperature = draws.temperature
        noise = _noise(draws.seed, draws.step, logits.shape[-1])
        race = logits / temperature.clamp_min(1e-6)[:, None] - noise.log()
        token = torch.where(temperature > 0, race.argmax(-1), token)
    if wanted is not None:
        token[wanted.rows] = _preferred(logits, race, temperature, token, wanted)
    logprobs = logits.log_softmax(-1) if norm is None else logits
    logprob = logprobs.gather(-1, token[:, None])[:, 0]
    return token, logprob if norm is None else logprob - norm


def _preferred(logits: Tensor, race: Tensor, temperature: Tensor | None, token: Tensor, wanted: Wanted) -> Tensor:
    """The tokens int64 [R] of the rows that want some: the best of the kind that `token` is of."""
    rows = wanted.rows
    scores = logits[rows] + wanted.bonus
    if temperature is not None:
        warmth = temperature[rows][:, None]
        scores = torch.where(warmth > 0, race[rows] + wanted.bonus / warmth.clamp_min(1e-6), scores)
    kind = wanted.kinds[token[rows]][:, None]
    best = scores.masked_fill(wanted.kinds != kind, -torch.inf).argmax(-1)
    return torch.where(kind[:, 0] > 0, best, token[rows])


def _noise(seed: Tensor, step: Tensor, size: int) -> Tensor:
    return exponential(keys(seed, step)[:, 0], torch.arange(size, device=seed.device), size)


@dataclass(frozen=True)
class Sampling:
    """How each row of a batch is sampled."""

    temperature: Tensor  # fp32 [B, 1]; 0 takes the most probable token
    last: Tensor  # int64 [B, 1]: the rank of the last token that top-k keeps, from 0
    top_p: Tensor  # fp32 [B, 1]; 0 keeps every token; of what top-k left
    greedy: tuple[bool, ...]  # which rows have temperature 0
    nucleus: bool  # some row has a top-p
    most: int  # the largest top-k; 0 when some row keeps every token

    @classmethod
    def of(
        cls, temperature: Sequence[float], top_k: Sequence[int], top_p: Sequence[float], device: torch.device
    ) -> Sampling:
        """One value a row; a top-k or top-p of 0 keeps every token."""
        last = [k - 1 if k else _MASK for k in top_k]
        return cls(
            torch.tensor(temperature, dtype=torch.float32, device=device)[:, None],
            torch.tensor(last, dtype=torch.long, device=device)[:, None],
            torch.tensor(top_p, dtype=torch.float32, device=device)[:, None],
            greedy=tuple(t <= 0 for t in temperature),
            nucleus=any(top_p),
            most=max(top_k) if all(top_k) else 0,
        )


@dataclass(frozen=True)
class Choice:
    """How the streams of a step choose their codes. A guided one has a second row, which hears no text."""

    sampling: Sampling
    keys: Tensor  # int64 [B, 1 + codebooks], of `keys`
    guided: tuple[int, ...] = ()  # which streams have a second row
    strength: Tensor = field(default_factory=lambda: torch.empty(0))  # fp32 [guided]: 1 would be the first row alone


def draw(logits: Tensor, sampling: Sampling, key: Tensor) -> Tensor:
    """logits fp32 [B, V] to tokens int64 [B]; key int64 [B], a column of `keys`."""
    if all(sampling.greedy):
        return logits.argmax(-1)
    count = sampling.most + TIES if sampling.most else logits.shape[-1]
    values, tokens = logits.topk(min(count, logits.shape[-1]))
    values = values / sampling.temperature.clamp_min(1e-6)
    values = values.masked_fill(values < values.gather(-1, sampling.last.clamp_max(values.shape[-1] - 1)), -torch.inf)
    if sampling.nucleus:
        shares = values.softmax(-1)
        values = values.masked_fill((shares.cumsum(-1) - shares > sampling.top_p) & (sampling.top_p > 0), -torch.inf)
    winner = values.sub_(exponential(key, tokens, logits.shape[-1]).log_()).argmax(-1, keepdim=True)
    drawn = tokens.gather(-1, winner)
    if any(sampling.greedy):
        drawn = torch.where(sampling.temperature > 0, drawn, logits.argmax(-1, keepdim=True))
    return drawn[:, 0]


def keys(seed: Tensor, step: Tensor, streams: int = 1) -> Tensor:
    """What the noise of a row's step depends on, int64 [B, streams], from int64 seeds and steps [B].

    Stream 0 is the text, stream q + 1 codebook q.
    """
    key = (_mix(_mix(seed & _MASK) ^ (seed >> 32 & _MASK)) ^ _mix(step & _MASK))[:, None]
    if streams == 1:
        return key
    later = torch.arange(1, streams, device=seed.device)
    return torch.cat([key, _mix((key + later * _GOLDEN) & _MASK)], 1)


def exponential(key: Tensor, tokens: Tensor, size: int) -> Tensor:
    """Exp(1) draws, fp32 [B, K], for keys int64 [B] and tokens int64 [K] or [B, K], all below `size`."""
    bits = _mix(key[:, None] ^ _token_bits(size, tokens.device)[tokens])
    return bits.double().add_(0.5).mul_(2**-32).log_().neg_().float()


@cache
def _token_bits(size: int, device: torch.device) -> Tensor:
    return _mix(torch.arange(size, device=device) + _GOLDEN)


def _mix(x: Tensor) -> Tensor:
    """A 32-bit finaliser (two rounds of multiply and shift) on int64 tensors."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x = (x ^ (x >> shift)).mul_(factor).bitwise_and_(_MASK)
    return x ^ (x >> 15)
