"""A residual chain of codebooks: one product a codebook, its argmax fused.

    code = argmax_e  r . e - |e|^2 / 2;   r -= e[code];   then the next codebook

Each launch is one codebook: a program takes some rows and some entries. It first joins what the programs of the launch
before found for its rows, takes that entry off the residual, and leaves its own best for the next launch.
Bound: fp32 products (17 M a frame), and below some dozen rows the codebooks' bytes from the cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import in_order

ROWS, ENTRIES, DEPTH = 16, 128, 32  # of a tile: rows, entries, and how much of a sum at once
NOWHERE = tl.constexpr(0x7FFFFFFF)


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["codes"])
def _nearest(
    residual, reduced, book, bias, before, scores, entries, codes, next_scores, next_entries,
    count, WIDTH: tl.constexpr, BINS: tl.constexpr, PARTS: tl.constexpr, PARTS_WIDE: tl.constexpr,
    COLUMNS: tl.constexpr, ROWS: tl.constexpr, ENTRIES: tl.constexpr, DEPTH: tl.constexpr, FIRST: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    some = row < count
    code = tl.zeros([ROWS], tl.int32)
    if not FIRST:
        code = _best(scores, entries, row, some, PARTS, PARTS_WIDE)
        if part == 0:
            tl.store(codes + row * COLUMNS, code.to(tl.int64), some)
    entry = part * ENTRIES + tl.arange(0, ENTRIES)
    known = entry < BINS
    score = tl.zeros([ROWS, ENTRIES], tl.float32)
    for first in range(0, WIDTH, DEPTH):
        d = first + tl.arange(0, DEPTH)
        within = some[:, None] & (d < WIDTH)[None, :]
        r = tl.load(residual + row[:, None] * WIDTH + d[None, :], within, 0.0)
        if not FIRST:
            r -= tl.load(before + code[:, None] * WIDTH + d[None, :], within, 0.0)
            if part == 0:
                tl.store(reduced + row[:, None] * WIDTH + d[None, :], r, within)
        e = tl.load(book + entry[None, :] * WIDTH + d[:, None], known[None, :] & (d < WIDTH)[:, None], 0.0)
        score = tl.dot(r, e, score, input_precision=PRECISION)
    score += tl.load(bias + entry, known, 0.0)[None, :]
    score = tl.where(known[None, :], score, float("-inf"))
    most = tl.max(score, 1)
    which = tl.min(tl.where(known[None, :] & (score == most[:, None]), entry[None, :], NOWHERE), 1)
    tl.store(next_scores + row * PARTS + part, most, some)
    tl.store(next_entries + row * PARTS + part, which, some)


@triton.jit
def _best(scores, entries, row, some, PARTS: tl.constexpr, PARTS_WIDE: tl.constexpr):
    """The entry with the largest of the parts' scores; of equal ones the first; 0 where all are NaN."""
    part = tl.arange(0, PARTS_WIDE)[None, :]
    there = some[:, None] & (part < PARTS)
    score = tl.load(scores + row[:, None] * PARTS + part, there, float("-inf"))
    entry = tl.load(entries + row[:, None] * PARTS + part, there, NOWHERE)
    first = tl.min(tl.where(score == tl.max(score, 1)[:, None], entry, NOWHERE), 1)
    return tl.where(first == NOWHERE, 0, first)


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["codes"])
def _last(
    scores, entries, codes, count, PARTS: tl.constexpr, PARTS_WIDE: tl.constexpr, COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    code = _best(scores, entries, row, row < count, PARTS, PARTS_WIDE)
    tl.store(codes + row * COLUMNS, code.to(tl.int64), row < count)


def quantise(
    residual: Tensor, books: Tensor, biases: Tensor, codes: Tensor, precision: str, entries: int = ENTRIES
) -> None:
    """residual fp32 [R, width], books fp32 [n, bins, width], biases fp32 [n, bins]: `codes` int64 [R, n] is written.

    `codes` may be columns of a wider tensor. precision: "tf32x3", nearly fp32 on matrix units, or "ieee".
    """
    assert in_order(residual, books, biases)
    rows, (count, bins, width) = len(residual), books.shape
    parts = triton.cdiv(bins, entries)
    wide, columns = triton.next_power_of_2(parts), codes.stride(0)
    residuals = residual, torch.empty_like(residual)
    scores = residual.new_empty(2, rows, parts)
    found = torch.empty(2, rows, parts, dtype=torch.int32, device=residual.device)
    blocks = triton.cdiv(rows, ROWS)
    for i in range(count):
        now, then = i % 2, 1 - i % 2
        _nearest[blocks, parts](
            residuals[then] if i else residual, residuals[now], books[i], biases[i], books[i - 1 if i else 0],
            scores[then], found[then], codes[:, max(i - 1, 0)], scores[now], found[now],
            rows, width, bins, parts, wide, columns, ROWS, entries, DEPTH, i == 0, precision,
        )  # fmt: skip
    last = (count - 1) % 2
    _last[blocks,](scores[last], found[last], codes[:, count - 1], rows, parts, wide, columns, ROWS)
