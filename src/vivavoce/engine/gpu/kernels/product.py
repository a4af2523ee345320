"""A product with weights in 8 bits, which are turned into numbers in registers: y = (x W^T) * scale, a scale an output.

Whole numbers to 127 are exact in every dtype, so this is the product with the weights that are kept, summed in fp32.
Bound: few rows: the weights' bytes, half of those in 16 bits; many rows: operations, those of 16 bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.jit import JITFunction

from . import in_order

Tile = tuple[int, int, int, int]  # rows, outputs, how much of a sum at once, warps
TILES: tuple[tuple[int, Tile], ...] = (  # up to so many rows: narrow where bytes count, that all processors read
    (16, (16, 16, 256, 4)),
    (64, (64, 32, 128, 4)),
    (256, (64, 128, 64, 4)),
)
WIDEST: Tile = (128, 128, 64, 8)


@triton.jit(do_not_specialize=["count"])
def _product(
    x, weight, scale, out, count, WIDTH: tl.constexpr, OUTPUTS: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Blocks of rows are neighbours in the grid, so that they share the weights that one of them has read."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    some, there = row < count, column < OUTPUTS
    own = row.to(tl.int64) * WIDTH
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(0, WIDTH, DEPTH):
        d = first + tl.arange(0, DEPTH)
        inside = d < WIDTH
        part = tl.load(x + own[:, None] + d[None, :], some[:, None] & inside[None, :], 0.0)
        kept = tl.load(weight + column[None, :] * WIDTH + d[:, None], there[None, :] & inside[:, None], 0)
        total = tl.dot(part, kept.to(part.dtype), total, input_precision="ieee")
    total *= tl.load(scale + column, there, 0.0)[None, :]
    place = row.to(tl.int64)[:, None] * OUTPUTS + column[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), some[:, None] & there[None, :])


def product(x: Tensor, weight: Tensor, scale: Tensor, tile: Tile | None = None) -> Tensor:
    """x [R, width], weight int8 [outputs, width], scale fp32 [outputs] to [R, outputs] in the dtype of x."""
    assert in_order(x, weight, scale)
    if x.dtype == torch.bfloat16 and not isinstance(_product, JITFunction):  # the interpreter would multiply bits
        return product(x.float(), weight, scale, tile).to(x.dtype)
    rows, (outputs, width) = len(x), weight.shape
    out = x.new_empty(rows, outputs)
    tall, wide, deep, warps = tile or next((tile for most, tile in TILES if rows <= most), WIDEST)
    _product[triton.cdiv(rows, tall), triton.cdiv(outputs, wide)](
        x, weight, scale, out, rows, width, outputs, tall, wide, deep, num_warps=warps
    )
    return out
