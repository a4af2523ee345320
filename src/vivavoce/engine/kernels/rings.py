"""Keys and values of every layer and slot as the kernels read them (`Memory` of model.h)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import structures
from .packing import CHANNELS, Format, allocate, padded


class Rings:
    """Room for `capacity` positions of each head of `width` numbers, a multiple of 16."""

    def __init__(self, layers: int, slots: int, heads: int, width: int, capacity: int, format: Format) -> None:
        assert format is not Format.INT4
        self._format, places = format, padded(capacity, CHANNELS)
        self._shape, count = (layers, slots, heads), layers * slots * heads * places
        dtype = (torch.float32, torch.bfloat16, torch.uint8)[format]
        self._keys, self._values = (allocate(count * width, dtype) for _ in range(2))
        self._scales = [allocate(count, torch.float32) for _ in range(2)] if format is Format.INT8 else []
        scales = [scale.data_ptr() for scale in self._scales] if self._scales else [None, None]
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
        room, step = self.struct.padded - self.struct.capacity, self._format.step
        key, value = (
            F.pad(part.detach().float(), (0, self._width - part.shape[-1], 0, room)) for part in (keys, values)
        )
        if self._format is Format.INT8:
            key, value = (self._rounded(i, layer, slot, part) for i, part in enumerate((key, value)))
        blocks = key.unflatten(-1, (-1, step)).unflatten(1, (-1, CHANNELS)).transpose(2, 3)
        self._of(self._keys, layer, slot).view_as(blocks).copy_(blocks)
        places = value.unflatten(1, (-1, step)).mT
        self._of(self._values, layer, slot).view_as(places).copy_(places)

    def _rounded(self, which: int, layer: int, slot: int, numbers: Tensor) -> Tensor:
        scales = numbers.abs().amax(-1) / 127
        self._of(self._scales[which], layer, slot).view_as(scales).copy_(scales)
        return torch.where(scales[..., None] == 0, 0, numbers / scales[..., None]).round() + 128

    def _of(self, memory: Tensor, layer: int, slot: int) -> Tensor:
        return memory.view(*self._shape, -1)[layer, slot]
