"""The next token of each row: greedy or sampled as `nn.sampling.choose` does it, without a look from the host.

    token = argmax z        or, at temperature T > 0,  argmax z / T - log(E_i),  E_i ~ Exp(1) by hash(seed, step, i)
    logprob = z[token] - log sum exp z

A row with a bonus b of its own then takes, of the tokens of that token's kind, argmax z + b, or (z + b) / T - log(E_i).

Bound: one pass over the logits for greedy rows; the noise, in double precision, only where a row is sampled; bonus and
kinds are read only for rows that have a bonus.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import in_order

BLOCK = 1024  # logits at once
GOLDEN = tl.constexpr(0x9E3779B9)
NOWHERE = tl.constexpr(0x7FFFFFFF)


@triton.jit
def _mix(x):
    """uint32, as `nn.sampling._mix`."""
    x = (x ^ (x >> 16)) * tl.full([], 0x21F0AAAD, tl.uint32)
    x = (x ^ (x >> 15)) * tl.full([], 0x735A2D97, tl.uint32)
    return x ^ (x >> 15)


@triton.jit
def _better(best, chosen, score, race, i, z):
    """The best of the race so far, or of this block: its place in the race, its token, its logit."""
    most = tl.max(race, 0)
    if most > best:
        best = most
        chosen = tl.min(tl.where(race == most, i, NOWHERE), 0)
        score = tl.max(tl.where(i == chosen, z, float("-inf")), 0)
    return best, chosen, score


@triton.jit
def _choose(
    logits, temperature, seed, step, bonus, bonus_row, kinds, token, logprob,
    STRIDE: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    own_bonus = tl.load(bonus_row + row).to(tl.int64)
    warmth, own = tl.load(temperature + row), tl.load(seed + row)
    key = _mix(_mix(own.to(tl.uint32)) ^ (own >> 32).to(tl.uint32)) ^ _mix(tl.load(step + row).to(tl.uint32))
    top = tl.full([], float("-inf"), tl.float32)
    total = tl.zeros([], tl.float32)
    best = tl.full([], float("-inf"), tl.float32)  # of the race
    chosen = tl.zeros([], tl.int32)
    score = tl.zeros([], tl.float32)  # the chosen one's logit
    first_best, later_best = best, best  # with the bonus, of tokens that begin a word, and of those that go on
    first_chosen, later_chosen = chosen, chosen
    first_score, later_score = score, score
    for first in range(0, SIZE, BLOCK):
        i = first + tl.arange(0, BLOCK)
        z = tl.load(logits + row * STRIDE + i, i < SIZE, float("-inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(z, 0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(z - higher), 0)
        top = higher
        race = z
        if warmth > 0:
            bits = _mix(key ^ _mix(i.to(tl.uint32) + tl.full([], GOLDEN, tl.uint32)))
            noise = -tl.log((bits.to(tl.float64) + 0.5) * 2.3283064365386963e-10)
            race = z / tl.maximum(warmth, 1e-6) - tl.log(noise.to(tl.float32))
        best, chosen, score = _better(best, chosen, score, race, i, z)
        if own_bonus >= 0:
            added = tl.load(bonus + own_bonus * SIZE + i, i < SIZE, 0.0)
            if warmth > 0:
                added = added / tl.maximum(warmth, 1e-6)
            kind = tl.load(kinds + i, i < SIZE, 0)
            begin = tl.where(kind == 1, race + added, float("-inf"))
            first_best, first_chosen, first_score = _better(first_best, first_chosen, first_score, begin, i, z)
            later = tl.where(kind == 2, race + added, float("-inf"))
            later_best, later_chosen, later_score = _better(later_best, later_chosen, later_score, later, i, z)
    if own_bonus >= 0:
        kind = tl.load(kinds + chosen)
        if kind == 1:
            chosen, score = first_chosen, first_score
        if kind == 2:
            chosen, score = later_chosen, later_score
    tl.store(token + row, chosen.to(tl.int64))
    tl.store(logprob + row, score - top - tl.log(total))


def choose(
    logits: Tensor, size: int, temperature: Tensor, seed: Tensor, step: Tensor, bonus: Tensor, bonus_row: Tensor,
    kinds: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The first `size` columns of logits [R, at least size] to tokens int64 [R] and log-probabilities fp32 [R].

    temperature fp32, seed and step int64 [R]; bonus fp32 [any, size], of which row r has the one at bonus_row int32
    [R], none if that is negative; kinds int8 [size], as `engine.terms` has them.
    """
    assert in_order(logits, temperature, seed, step, bonus, bonus_row, kinds)
    rows = len(logits)
    token = torch.empty(rows, dtype=torch.long, device=logits.device)
    logprob = torch.empty(rows, device=logits.device)
    how = temperature, seed, step, bonus, bonus_row, kinds
    _choose[rows,](logits, *how, token, logprob, logits.stride(0), size, BLOCK)
    return token, logprob
