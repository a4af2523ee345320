"""Attention over paged keys and values, each row with its own slot, position and length.

    out[r, h] = softmax(q[r, h] . K[h]^T / sqrt(D)) V[h]  over positions  max(p - context + 1, oldest) <= j <= p

Layout: keys and values [pages, heads, PAGE, D]; position j of slot s is row j % PAGE of page
table[s, j / PAGE % PAGES]. In 8 bits each head and position has an fp32 scale, [pages, heads, PAGE].
Bound: the bytes of keys and values, each read once. A lane keeps a running softmax of its own (positions n, n + BLOCK,
n + 2 BLOCK, ...), so that the loop's only reduction is along D; lanes, and splits of a long row, are joined at the end.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import in_order

Kept = tuple[Tensor, Tensor, Tensor, Tensor]  # keys, values, and the scales of both
BLOCK = 32  # positions at once
WARPS = 4
LOWEST = tl.constexpr(-1e30)  # a maximum before anything was seen; finite, so that differences are numbers
INT8_MOST = tl.constexpr(127.0)
FP8_MOST = tl.constexpr(448.0)  # of e4m3


@triton.jit
def _round(x, FP8: tl.constexpr):
    """To the nearest number that the format has; what is then converted is exact, however the conversion rounds."""
    if FP8:
        bits = x.to(tl.int32, bitcast=True)
        bits = bits + 0x7FFFF + ((bits >> 20) & 1)
        return (bits & -0x100000).to(tl.float32, bitcast=True)
    return tl.floor(x + 0.5)


@triton.jit
def _rotate_and_keep(
    qkv, turns, query, keys, values, key_scales, value_scales, table, slots, positions,
    HEADS: tl.constexpr, WIDE: tl.constexpr, DIM: tl.constexpr, HALF: tl.constexpr, PAGE: tl.constexpr,
    PAGES: tl.constexpr, SCALED: tl.constexpr, FP8: tl.constexpr,
):  # fmt: skip
    """One row: RoPE on its queries and keys, whose pairs are neighbours; its keys and values into their page."""
    row = tl.program_id(0)
    position = tl.load(positions + row)
    page = tl.load(table + tl.load(slots + row) * PAGES + (position // PAGE) % PAGES).to(tl.int64)
    head, pair = tl.arange(0, WIDE)[:, None], tl.arange(0, HALF)[None, :]
    valid = (head < HEADS) & (pair < DIM // 2)
    cosine = tl.load(turns + (row * (DIM // 2) + pair) * 2, mask=pair < DIM // 2, other=0.0)
    sine = tl.load(turns + (row * (DIM // 2) + pair) * 2 + 1, mask=pair < DIM // 2, other=0.0)
    even = head * DIM + 2 * pair
    source = qkv + row.to(tl.int64) * (3 * HEADS * DIM) + even
    q0, q1 = tl.load(source, valid, 0.0).to(tl.float32), tl.load(source + 1, valid, 0.0).to(tl.float32)
    kept = query + row.to(tl.int64) * (HEADS * DIM) + even
    tl.store(kept, (q0 * cosine - q1 * sine).to(query.dtype.element_ty), valid)
    tl.store(kept + 1, (q0 * sine + q1 * cosine).to(query.dtype.element_ty), valid)
    source += HEADS * DIM
    k0, k1 = tl.load(source, valid, 0.0).to(tl.float32), tl.load(source + 1, valid, 0.0).to(tl.float32)
    source += HEADS * DIM
    v0, v1 = tl.load(source, valid, 0.0).to(tl.float32), tl.load(source + 1, valid, 0.0).to(tl.float32)
    place = (page * HEADS + head) * PAGE + position % PAGE
    _keep(
        k0 * cosine - k1 * sine, k0 * sine + k1 * cosine, keys, key_scales, place, pair, valid, HEADS, DIM, SCALED, FP8
    )
    _keep(v0, v1, values, value_scales, place, pair, valid, HEADS, DIM, SCALED, FP8)


@triton.jit
def _keep(
    x0, x1, memory, scales, place, pair, valid,
    HEADS: tl.constexpr, DIM: tl.constexpr, SCALED: tl.constexpr, FP8: tl.constexpr,
):  # fmt: skip
    """Even and odd numbers of each head, [WIDE, HALF], to their place."""
    if SCALED:
        most = FP8_MOST if FP8 else INT8_MOST
        scale = tl.maximum(tl.max(tl.maximum(tl.abs(x0), tl.abs(x1)), 1, keep_dims=True) / most, 1e-30)
        x0, x1 = _round(x0 / scale, FP8), _round(x1 / scale, FP8)
        tl.store(scales + place, scale, tl.arange(0, x0.shape[0])[:, None] < HEADS)
    target = memory + place * DIM + 2 * pair
    tl.store(target, x0.to(memory.dtype.element_ty), valid)
    tl.store(target + 1, x1.to(memory.dtype.element_ty), valid)


@triton.jit
def _attend(
    query, keys, values, key_scales, value_scales, table, slots, positions, oldest, out, partial,
    scale: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, WIDE: tl.constexpr, CONTEXT: tl.constexpr,
    PAGE: tl.constexpr, PAGES: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """One head of a row, or one split of it: every SPLITS-th part of what the row sees."""
    row, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    slot, last = tl.load(slots + row), tl.load(positions + row).to(tl.int32)
    first = tl.maximum(last - CONTEXT + 1, tl.load(oldest + slot).to(tl.int32))
    share = tl.cdiv(tl.maximum(last + 1 - first, 0), SPLITS)
    begin = first + split * share
    end = tl.minimum(begin + share, last + 1)
    lane, d = tl.arange(0, BLOCK), tl.arange(0, WIDE)
    inside = (d < DIM)[None, :]
    line = (row.to(tl.int64) * HEADS + head) * DIM + d
    q = tl.load(query + line, d < DIM, 0.0).to(tl.float32)[None, :] * (scale * 1.4426950408889634)
    top = tl.full([BLOCK], LOWEST, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    mean = tl.zeros([BLOCK, WIDE], tl.float32)
    for at in range(begin, end, BLOCK):
        j = at + lane
        seen = j < end
        page = tl.load(table + slot * PAGES + (j // PAGE) % PAGES, seen, 0).to(tl.int64)
        place = (page * HEADS + head) * PAGE + j % PAGE
        here = place[:, None] * DIM + d[None, :]
        k = tl.load(keys + here, seen[:, None] & inside, 0.0).to(tl.float32)
        v = tl.load(values + here, seen[:, None] & inside, 0.0).to(tl.float32)
        score = tl.sum(k * q, 1)
        if SCALED:
            score *= tl.load(key_scales + place, seen, 0.0)
        score = tl.where(seen, score, float("-inf"))
        higher = tl.maximum(top, score)
        fade, weight = tl.exp2(top - higher), tl.exp2(score - higher)
        total = total * fade + weight
        if SCALED:
            weight *= tl.load(value_scales + place, seen, 0.0)
        mean = mean * fade[:, None] + weight[:, None] * v
        top = higher
    highest = tl.max(top, 0)
    weight = tl.exp2(top - highest)
    share_of = tl.sum(total * weight, 0)
    mixed = tl.sum(mean * weight[:, None], 0)
    if SPLITS == 1:
        tl.store(out + line, (mixed / tl.maximum(share_of, 1e-30)).to(out.dtype.element_ty), d < DIM)
    else:
        target = partial + ((row.to(tl.int64) * HEADS + head) * SPLITS + split) * (WIDE + 2)
        tl.store(target + d, mixed)
        tl.store(target + WIDE, highest)
        tl.store(target + WIDE + 1, share_of)


@triton.jit
def _join(
    partial, out, HEADS: tl.constexpr, DIM: tl.constexpr, WIDE: tl.constexpr, SPLITS: tl.constexpr, PARTS: tl.constexpr
):
    """The splits of one head of a row."""
    line = tl.program_id(0).to(tl.int64) * HEADS + tl.program_id(1)
    part, d = tl.arange(0, PARTS), tl.arange(0, WIDE)
    source = partial + (line * SPLITS + part) * (WIDE + 2)
    top = tl.load(source + WIDE, part < SPLITS, LOWEST)
    weight = tl.exp2(top - tl.max(top, 0))
    total = tl.sum(tl.load(source + WIDE + 1, part < SPLITS, 0.0) * weight, 0)
    mixed = tl.load(source[:, None] + d[None, :], (part < SPLITS)[:, None], 0.0)
    mean = tl.sum(mixed * weight[:, None], 0) / tl.maximum(total, 1e-30)
    tl.store(out + line * DIM + d, mean.to(out.dtype.element_ty), d < DIM)


def rotate_and_keep(
    qkv: Tensor,
    turns: Tensor,
    kept: Kept,
    table: Tensor,
    slots: Tensor,
    positions: Tensor,
) -> Tensor:
    """qkv [R, 3 * heads * D] and turns fp32 [R, D / 2, 2] (cosine, sine): keys and values go into their pages.

    `kept`: keys and values [pages, heads, PAGE, D] and their scales; table int32 [slots, PAGES]; slots and positions
    int64 [R]. Gives the turned queries [R, heads * D].
    """
    keys, values, key_scales, value_scales = kept
    assert in_order(qkv, turns, *kept, table, slots, positions)
    _, heads, page, dim = keys.shape
    query = qkv.new_empty(len(qkv), heads * dim)
    scaled = keys.dtype in (torch.int8, torch.float8_e4m3fn)
    _rotate_and_keep[len(qkv),](
        qkv, turns, query, keys, values, key_scales, value_scales, table, slots, positions,
        heads, triton.next_power_of_2(heads), dim, triton.next_power_of_2(dim // 2), page, table.shape[1],
        scaled, keys.dtype == torch.float8_e4m3fn,
    )  # fmt: skip
    return query


def attend(
    query: Tensor, kept: Kept, table: Tensor, slots: Tensor, positions: Tensor,
    oldest: Tensor, context: int, splits: int, block: int = BLOCK, warps: int = WARPS,
) -> Tensor:  # fmt: skip
    """[R, heads * D] to what each row sees of its slot from `oldest` int64 [slots] on, [R, heads * D]."""
    keys, values, key_scales, value_scales = kept
    assert in_order(query, *kept, table, slots, positions, oldest)
    _, heads, page, dim = keys.shape
    wide, out = triton.next_power_of_2(dim), torch.empty_like(query)
    partial = query.new_empty(len(query) * heads * splits * (wide + 2) if splits > 1 else 1, dtype=torch.float32)
    scaled = keys.dtype in (torch.int8, torch.float8_e4m3fn)
    _attend[len(query), heads, splits](
        query, keys, values, key_scales, value_scales, table, slots, positions, oldest, out, partial,
        1 / math.sqrt(dim), heads, dim, wide, context, page, table.shape[1], block, splits, scaled, num_warps=warps,
    )  # fmt: skip
    if splits > 1:
        _join[len(query), heads](partial, out, heads, dim, wide, splits, triton.next_power_of_2(splits))
    return out
