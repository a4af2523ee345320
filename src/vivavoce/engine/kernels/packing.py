"""Weights in the kernels' formats (model.h): padded, cut into blocks of 16 outputs, one 64-byte line a step."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from enum import IntEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from . import structures

CHANNELS = 16
GROUP = 64
CHUNK = 128  # outputs packed at once
HUGE = 4 << 20  # bytes; tensors from here on are given huge pages


class Format(IntEnum):
    """How numbers are kept."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2  # weights: a scale for each output; keys and values: for each head and position
    INT4 = 3  # a scale for each output and GROUP inputs

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


def padded(size: int, to: int) -> int:
    return -(-size // to) * to


def pack(weight: Tensor, format: Format, to: int = GROUP) -> Packed:
    """weight [outputs, inputs] of any dtype; both sizes are padded with zeros, inputs to a multiple of `to`."""
    outputs, inputs = padded(weight.shape[0], CHANNELS), padded(weight.shape[1], max(to, format.step))
    dtype = {Format.FLOAT32: torch.float32, Format.BFLOAT16: torch.bfloat16}.get(format, torch.uint8)
    line = format.step // 2 if format is Format.INT4 else format.step
    data = allocate(outputs * inputs // (format.step // line), dtype)
    blocks = data.view(outputs // CHANNELS, inputs // format.step, CHANNELS, line)
    scales = list[Tensor]()
    for first in range(0, outputs, CHUNK):  # in parts that stay in the cache
        part = weight[first : first + CHUNK]
        rows = min(CHUNK, outputs - first)
        part = F.pad(part.float(), (0, inputs - part.shape[1], 0, rows - part.shape[0]))
        if format in (Format.INT8, Format.INT4):
            part, scale = _quantised(part, format)
            scales.append(scale)
        lines = part.view(rows // CHANNELS, CHANNELS, inputs // format.step, format.step).transpose(1, 2)
        if format is Format.INT4:
            lines = lines[..., :4] | lines[..., 4:] << 4
        blocks[first // CHANNELS :][: rows // CHANNELS] = lines
    kept = torch.cat(scales) if scales else None
    address = None if kept is None else kept.data_ptr()
    return Packed(data, kept, structures.Matrix(data.data_ptr(), address, format, outputs, inputs))


def _quantised(weight: Tensor, format: Format) -> tuple[Tensor, Tensor]:
    """Unsigned numbers [outputs, inputs], uint8, and their scales as the kernels read them."""
    outputs, inputs = weight.shape
    if format is Format.INT8:
        scales = weight.abs().amax(1, keepdim=True) / 127
        return (_ratio(weight, scales).round() + 128).to(torch.uint8), scales[:, 0].contiguous()
    groups = weight.view(outputs, inputs // GROUP, GROUP)
    scales = _best_scales(groups)
    numbers = (_ratio(groups, scales).round() + 8).clamp(0, 15).to(torch.uint8)
    in_blocks = scales.view(outputs // CHANNELS, CHANNELS, inputs // GROUP).transpose(1, 2)
    return numbers.view(outputs, inputs), in_blocks.contiguous()


def _best_scales(groups: Tensor) -> Tensor:
    """[..., GROUP] to [..., 1]: of some scales, the one with the least square error; it may clip the largest weight."""
    top = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))  # with its sign: the range is -8 to 7
    best, least = top / -8, torch.full_like(top, torch.inf)
    for reach in (8.0, 7.5, 7.0, 8.5, 9.0):
        scales = top / -reach
        restored = _ratio(groups, scales).round().clamp(-8, 7) * scales
        error = (restored - groups).square().sum(-1, keepdim=True)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return best


def _ratio(numbers: Tensor, scales: Tensor) -> Tensor:
    return torch.where(scales == 0, 0, numbers / scales)


def allocate(count: int, dtype: torch.dtype) -> Tensor:
    """Zeros [count]; large ones on huge pages where the system has them, as they are read from end to end."""
    size = count * dtype.itemsize
    if size < HUGE:
        return torch.zeros(count, dtype=dtype)
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype)
