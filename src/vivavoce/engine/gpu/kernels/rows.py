"""What each row does alone: the sum of its embeddings, norms, the gate. Bound: the bytes, each read and written once.

embed   x[r] = sum over the text token and n_q codes of their rows of the table; id -1 adds nothing
norm    x[r] += delta[r];  y[r] = x[r] / sqrt(mean(x[r]^2) + 1e-8) * alpha
gate    y[r] = silu(a[r, :hidden]) * a[r, hidden:]
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import in_order

COLUMNS = 1024  # of a row for one program, where columns do not depend on one another


@triton.jit
def _embed(
    text, codes, table, out, TEXT: tl.constexpr, CARD: tl.constexpr, CODEBOOKS: tl.constexpr, DIM: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """TEXT rows of text tokens, then CARD of each codebook."""
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < DIM
    token = tl.load(text + row)
    total = tl.load(table + token * DIM + column, inside & (token >= 0), 0.0).to(tl.float32)
    for q in range(CODEBOOKS):
        code = tl.load(codes + row * CODEBOOKS + q)
        line = table + (TEXT + q * CARD + code) * DIM
        total += tl.load(line + column, inside & (code >= 0), 0.0).to(tl.float32)
    tl.store(out + row * DIM + column, total.to(out.dtype.element_ty), inside)


@triton.jit
def _norm(x, delta, alpha, out, DIM: tl.constexpr, WIDE: tl.constexpr, ADD: tl.constexpr):
    at, column = tl.program_id(0).to(tl.int64) * DIM, tl.arange(0, WIDE)
    inside = column < DIM
    value = tl.load(x + at + column, inside, 0.0)
    if ADD:  # what is kept is rounded, and it is what the norm sees
        value = (value.to(tl.float32) + tl.load(delta + at + column, inside, 0.0).to(tl.float32)).to(value.dtype)
        tl.store(x + at + column, value, inside)
    value = value.to(tl.float32)
    value = value / tl.sqrt(tl.sum(value * value, 0) / DIM + 1e-8)
    value *= tl.load(alpha + column, inside, 0.0).to(tl.float32)
    tl.store(out + at + column, value.to(out.dtype.element_ty), inside)


@triton.jit
def _gate(x, out, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < HIDDEN
    gate = tl.load(x + row * 2 * HIDDEN + column, inside, 0.0).to(tl.float32)
    up = tl.load(x + row * 2 * HIDDEN + HIDDEN + column, inside, 0.0).to(tl.float32)
    tl.store(out + row * HIDDEN + column, (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty), inside)


def embed(text: Tensor, codes: Tensor, table: Tensor, text_ids: int, code_ids: int) -> Tensor:
    """text int64 [R], codes int64 [R, n_q], table [text_ids + n_q * code_ids (+ 1), dim] to [R, dim]."""
    assert in_order(text, codes, table)
    rows, dim = len(text), table.shape[1]
    out = table.new_empty(rows, dim)
    block = min(COLUMNS, triton.next_power_of_2(dim))
    _embed[rows, triton.cdiv(dim, block)](text, codes, table, out, text_ids, code_ids, codes.shape[1], dim, block)
    return out


def norm(x: Tensor, delta: Tensor | None, alpha: Tensor) -> Tensor:
    """x [R, dim], to which delta is added in place, to its RMS norm."""
    assert in_order(x, alpha) and (delta is None or in_order(delta))
    rows, dim = x.shape
    out = torch.empty_like(x)
    _norm[rows,](x, x if delta is None else delta, alpha, out, dim, triton.next_power_of_2(dim), delta is not None)
    return out


def gate(x: Tensor) -> Tensor:
    """[R, 2 * hidden] to [R, hidden]."""
    assert in_order(x)
    rows, hidden = x.shape[0], x.shape[1] // 2
    out = x.new_empty(rows, hidden)
    block = min(COLUMNS, triton.next_power_of_2(hidden))
    _gate[rows, triton.cdiv(hidden, block)](x, out, hidden, block)
    return out
