"""Weights in the kernels' formats (model.h): padded, cut into blocks of 16 outputs, one 64-byte line a step."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from . import structures
from .library import Library

CHANNELS = 16
GROUP = 64
DTYPES = torch.float32, torch.bfloat16  # as of Format
HUGE = 4 << 20  # bytes; tensors from here on are given huge pages


class Format(IntEnum):
    """How numbers are kept."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2  # weights: a scale for each output; keys and values: for each head and position
    # Weights: a scale for each output and GROUP inputs, and the sum of each output's weights. Keys as of INT8. Values:
    # a scale and the least one for each head and position.
    INT4 = 3

    @property
    def step(self) -> int:
        """Inputs of a line."""
        return 8 if self is Format.INT4 else 1 << self


@dataclass
class Packed:
    """A matrix, and what keeps its memory alive."""

    data: Tensor
    scales: Tensor | None
    struct: structures.Matrix

    def sums(self) -> Tensor:
        """Of each output's weights as INT8 keeps them."""
        assert self.scales is not None and self.struct.format == Format.INT8, "only bytes are added up"
        whole = self.data.view(-1, self.struct.inputs // 4, CHANNELS, 4).sum((1, 3)).flatten()
        return (whole - 128 * self.struct.inputs) * self.scales


def padded(size: int, to: int) -> int:
    return -(-size // to) * to


def pack(library: Library, weight: Tensor, format: Format, to: int = GROUP) -> Packed:
    """weight [outputs, inputs]; both sizes are padded with zeros, inputs to a multiple of `to`, for INT4 of GROUP.

    Takes as many threads as PyTorch does.
    """
    weight = weight.detach() if weight.dtype in DTYPES else weight.detach().float()
    weight, threads = weight.contiguous(), torch.get_num_threads()
    rows, columns = weight.shape
    outputs, inputs = padded(rows, CHANNELS), padded(columns, max(to, GROUP if format is Format.INT4 else format.step))
    count = outputs * inputs // (2 if format is Format.INT4 else 1)
    data = allocate(count, DTYPES[format] if format < len(DTYPES) else torch.uint8)
    groups = {Format.INT8: 1, Format.INT4: inputs // GROUP + 1}.get(format)
    scales = None if groups is None else torch.empty(outputs * groups)
    scratch = torch.empty(threads * 2 * CHANNELS * inputs)
    addresses = data.data_ptr(), None if scales is None else scales.data_ptr()
    sizes = DTYPES.index(weight.dtype), format, rows, columns, outputs, inputs
    library.pack(structures.Packing(weight.data_ptr(), *addresses, scratch.data_ptr(), *sizes), threads)
    return Packed(data, scales, structures.Matrix(*addresses, format, outputs, inputs))


def allocate(count: int, dtype: torch.dtype) -> Tensor:
    """Zeros [count]; large ones on huge pages where the system has them, as they are read from end to end."""
    size = count * dtype.itemsize
    if size < HUGE:
        return torch.zeros(count, dtype=dtype)
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.frombuffer(mmap.mmap(-1, size), dtype=dtype)
    # Private: what may be shared gets no huge pages. It begins where one does.
    memory = mmap.mmap(-1, size + HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    begin = -torch.frombuffer(memory, dtype=torch.uint8).data_ptr() % HUGE
    return torch.frombuffer(memory, dtype=dtype, count=count, offset=begin)
