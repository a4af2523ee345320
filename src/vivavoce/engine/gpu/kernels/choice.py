"""The next token of each row: greedy or sampled as `nn.sampling.choose` does it, without a look from the host.

    token = argmax z        or, at temperature T > 0,  argmax z / T - log(E_i),  E_i ~ Exp(1) by hash(seed, step, i)
    logprob = z[token] - log sum exp z

Bound: one pass over the logits for greedy rows; the noise, in double precision, only where a row is sampled.
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
def _choose(
    logits, temperature, seed, step, token, logprob, STRIDE: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    warmth, own = tl.load(temperature + row), tl.load(seed + row)
    key = _mix(_mix(own.to(tl.uint32)) ^ (own >> 32).to(tl.uint32)) ^ _mix(tl.load(step + row).to(tl.uint32))
    top = tl.full([], float("-inf"), tl.float32)
    total = tl.zeros([], tl.float32)
    best = tl.full([], float("-inf"), tl.float32)  # of the race
    chosen = tl.zeros([], tl.int32)
    score = tl.zeros([], tl.float32)  # the chosen one's logit
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
        most = tl.max(race, 0)
        if most > best:
            best = most
            chosen = tl.min(tl.where(race == most, i, NOWHERE), 0)
            score = tl.max(tl.where(i == chosen, z, float("-inf")), 0)
    tl.store(token + row, chosen.to(tl.int64))
    tl.store(logprob + row, score - top - tl.log(total))


def choose(logits: Tensor, size: int, temperature: Tensor, seed: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """The first `size` columns of logits [R, at least size] to tokens int64 [R] and log-probabilities fp32 [R].

    temperature fp32, seed and step int64 [R].
    """
    assert in_order(logits, temperature, seed, step)
    rows = len(logits)
    token = torch.empty(rows, dtype=torch.long, device=logits.device)
    logprob = torch.empty(rows, device=logits.device)
    _choose[rows,](logits, temperature, seed, step, token, logprob, logits.stride(0), size, BLOCK)
    return token, logprob
