"""Keys and values of a transformer's layers in pages, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vivavoce.nn.attention import frequencies
from vivavoce.nn.rows import Rows
from vivavoce.nn.transformer import TransformerConfig, TransformerState

from .kernels import attention
from .sizes import EIGHT_BITS, PAGE

BUSY = 8  # programs a multiprocessor that hide what memory takes to answer
MOST_SPLITS = 16  # of what one row sees


@dataclass(frozen=True)
class Places:
    """Where the rows of one pass are, for all layers."""

    slots: Tensor  # int64 [R]
    positions: Tensor  # int64 [R]
    turns: Tensor  # fp32 [R, head_dim / 2, 2]: cosine and sine of RoPE


class Memory:
    """For `slots` streams, and one row more that stands for none: whoever has that slot sees nothing.

    Keys and values are kept in `dtype`, which may be one of EIGHT_BITS. `pages` without the one that is nobody's.
    """

    def __init__(
        self, config: TransformerConfig, slots: int, ring: int, pages: int, dtype: torch.dtype, device: torch.device,
        page: int = PAGE,
    ) -> None:  # fmt: skip
        self.config, self.page = config, page
        self.table = torch.zeros(slots + 1, ring, dtype=torch.int32, device=device)
        self.position = torch.zeros(slots + 1, dtype=torch.long, device=device)
        self.oldest = torch.zeros_like(self.position)
        self.oldest[slots] = torch.iinfo(torch.int32).max
        shape = (pages + 1, config.heads, page, config.dim // config.heads)
        scales = shape[:-1] if dtype in EIGHT_BITS else (1,)
        self.layers: list[attention.Kept] = [
            (
                torch.zeros(shape, dtype=dtype, device=device),
                torch.zeros(shape, dtype=dtype, device=device),
                torch.zeros(scales, device=device),
                torch.zeros(scales, device=device),
            )
            for _ in range(config.layers)
        ]
        processors = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 0
        self._programs = processors * BUSY

    def places(self, rows: Rows, count: int) -> Places:
        """Where the next `count` positions of these slots go; they count as heard from now on."""
        config = self.config
        slots = repeated(rows.index, count)
        first = self.position[rows.index]
        self.position[rows.index] = first + count
        positions = (first[:, None] + torch.arange(count, device=first.device)).flatten()
        angles = positions[:, None] * frequencies(config.dim // config.heads, config.max_period, first.device)
        return Places(slots, positions, torch.stack([angles.cos(), angles.sin()], -1).float())

    def attend(self, layer: int, qkv: Tensor, places: Places) -> Tensor:
        """qkv [R, 3 * dim] of the layer to what the heads give, [R, dim]; its keys and values are kept."""
        kept = self.layers[layer]
        where = self.table, places.slots, places.positions
        query = attention.rotate_and_keep(qkv, places.turns, kept, *where)
        splits = self._splits(len(qkv))
        return attention.attend(query, kept, *where, self.oldest, self.config.context, splits)

    def _splits(self, rows: int) -> int:
        """Few rows are cut into parts, for every multiprocessor to have something to read."""
        wanted = -(-self._programs // (rows * self.config.heads))
        return min(MOST_SPLITS, 1 << max(0, wanted - 1).bit_length())

    def reset(self, slot: int, oldest: int = 0) -> None:
        """`slot` has heard nothing, and hears from position `oldest` on."""
        self.position[slot] = self.oldest[slot] = oldest

    def adopt(self, slot: int, other: TransformerState) -> None:
        """Continue in `slot`, which was reset and whose pages are there, where the only slot of `other` stands."""
        last = int(other.position)
        first = max(int(other.oldest), last - self.config.context + 1)  # what the next position sees
        self.position[slot] = last
        positions = torch.arange(first, last, device=self.position.device)
        pages = self.table[slot, positions // self.page % self.table.shape[1]].long()
        at = positions % other.rings[0].keys.shape[2]
        for kept, ring in zip(self.layers, other.rings, strict=True):
            for memory, scales, heard in zip(kept[:2], kept[2:], (ring.keys, ring.values), strict=True):
                numbers = heard[0, :, at].transpose(0, 1)  # [positions, heads, head_dim]
                if memory.dtype in EIGHT_BITS:
                    numbers, scale = eight_bits(numbers, memory.dtype)
                    scales[pages, :, positions % self.page] = scale
                    memory, numbers = memory.view(torch.uint8), numbers.view(torch.uint8)  # fp8 cannot be indexed
                memory[pages, :, positions % self.page] = numbers.to(memory.dtype)


def repeated(numbers: Tensor, count: int) -> Tensor:
    """[B] to [B * count], each so many times, in memory too: of one row `flatten` alone gives a view of stride 0."""
    return numbers[:, None].expand(-1, count).flatten().contiguous()


def eight_bits(numbers: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """[..., head_dim] to what is kept of it and the scales [...], as the kernel does it."""
    scale = (numbers.float().abs().amax(-1) / EIGHT_BITS[dtype]).clamp_min(1e-30)
    ratio = numbers.float() / scale[..., None]
    return (torch.floor(ratio + 0.5) if dtype == torch.int8 else ratio).to(dtype), scale


def reserved(memory: Memory, slots: int) -> Memory:
    """With its whole ring for every slot, from the beginning."""
    ring = memory.table.shape[1]
    pages = np.arange(1, slots * ring + 1, dtype=np.int32).reshape(slots, ring)
    memory.table[:slots] = torch.from_numpy(pages).to(memory.table.device)
    return memory
