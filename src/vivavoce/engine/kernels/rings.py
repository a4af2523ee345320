"""Keys and values of every layer and slot as the kernels read them (`Memory` of model.h)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import structures
from .packing import CHANNELS, DTYPES, Format, allocate, padded

SCALES = 0, 0, 2, 3  # as of Format: of keys, of values, and the least of a position's values


class Rings:
    """Room for `capacity` positions of each head of `width` numbers, a multiple of 16."""

    def __init__(self, layers: int, slots: int, heads: int, width: int, capacity: int, format: Format) -> None:
        self._format, places = format, padded(capacity, CHANNELS)
        self._shape, count = (layers, slots, heads), layers * slots * heads * places
        dtype = DTYPES[format] if format < len(DTYPES) else torch.uint8
        self._keys = allocate(count * width, dtype)
        self._values = allocate(count * width // (2 if format is Format.INT4 else 1), dtype)
        self._scales = [allocate(count, torch.float32) for _ in range(SCALES[format])]
        scales = [scale.data_ptr() for scale in self._scales] + [None] * (max(SCALES) - SCALES[format])
        self._width = width
        self.struct = structures.Memory(
            self._keys.data_ptr(), self._values.data_ptr(), *scales, format, slots, capacity, places
        )

    @property
    def tensors(self) -> list[Tensor]:
        """All that is read of it."""
        return [self._keys, self._values, *self._scales]

    def clear(self, slot: int) -> None:
        """No NaN is left of what the slot heard: a share of zero hides any other number."""
        for memory in self._scales[1:] or [self._values]:
            memory.view(*self._shape, -1)[:, slot] = 0

    def fill(self, layer: int, slot: int, keys: Tensor, values: Tensor) -> None:
        """All positions of a slot: keys and values [heads, capacity, up to width]."""
        room, halves = self.struct.padded - self.struct.capacity, self._format is Format.INT4
        step = Format.INT8.step if halves else self._format.step  # of halves as of the bytes that they lie in
        key, value = (
            F.pad(part.detach().float(), (0, self._width - part.shape[-1], 0, room)) for part in (keys, values)
        )
        if self._format >= Format.INT8:
            key = self._rounded(0, layer, slot, key)
            value = self._halves(layer, slot, value) if halves else self._rounded(1, layer, slot, value)
        blocks = key.unflatten(-1, (-1, step)).unflatten(1, (-1, CHANNELS)).transpose(2, 3)
        self._of(self._keys, layer, slot).view_as(blocks).copy_(blocks)
        places = value.unflatten(1, (-1, step)).mT
        self._of(self._values, layer, slot).view_as(places).copy_(places)

    def _rounded(self, which: int, layer: int, slot: int, numbers: Tensor) -> Tensor:
        scales = numbers.abs().amax(-1) / 127
        self._of(self._scales[which], layer, slot).view_as(scales).copy_(scales)
        return _ratio(numbers, scales).round() + 128

    def _halves(self, layer: int, slot: int, numbers: Tensor) -> Tensor:
        """Two positions a byte: [heads, capacity, width] to [heads, capacity / 2, width]."""
        least, most = numbers.aminmax(dim=-1)
        scales = (most - least) / 15
        for memory, part in zip(self._scales[1:], (scales, least), strict=True):
            self._of(memory, layer, slot).view_as(part).copy_(part)
        low, high = _ratio(numbers - least[..., None], scales).round().unflatten(1, (-1, 2, 4)).unbind(2)
        return (low + 16 * high).flatten(1, 2)

    def _of(self, memory: Tensor, layer: int, slot: int) -> Tensor:
        return memory.view(*self._shape, -1)[layer, slot]


def _ratio(numbers: Tensor, scales: Tensor) -> Tensor:
    return torch.where(scales[..., None] == 0, 0, numbers / scales[..., None])
