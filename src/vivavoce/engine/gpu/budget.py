"""How a GPU's memory is divided: what the codec and the graphs need, and the rest in pages."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from vivavoce.core import UnsupportedError
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi
from vivavoce.nn.transformer import TransformerConfig

from .memory import EIGHT_BITS, ring_of
from .support import eight_bit

logger = logging.getLogger(__name__)
SHARE = 0.97  # of what is free: allocators keep blocks that fit nothing
COPIES = 8  # of the codec's widest activation that are there at once
LIBRARIES = 1 << 30  # bytes: workspaces of cuBLAS and cuDNN, code


@dataclass(frozen=True)
class Budget:
    """Keys and values of the LM: in what and in how many pages."""

    memory: torch.dtype
    pages: int

    @classmethod
    def of(
        cls, mimi: Mimi, lm: Lm, slots: int, frames: int, memory: torch.dtype | None, codec: torch.dtype | None,
        page: int, free: int | None = None,
    ) -> Budget:  # fmt: skip
        """`free` bytes are what the device has left. Raises UnsupportedError when that is too little for one stream."""
        device, config = lm.embeddings.device, lm.transformer.config
        free = torch.cuda.mem_get_info(device)[0] if free is None else free
        left = int(free * SHARE) - LIBRARIES - _codec_bytes(mimi, slots, frames, codec, page)
        ring = ring_of(config.context, frames, page)
        wanted = slots * ring
        kept = memory or lm.embeddings.dtype
        pages = left // page_bytes(config, kept, page)
        if memory is None and pages < wanted:
            kept = eight_bit(device)
            pages = left // page_bytes(config, kept, page)
            logger.info("Keys and values are kept in 8 bits: in 16, %d slots have no room", slots)
        if pages < ring:
            missing = (ring * page_bytes(config, kept, page) - left) / 2**30
            raise UnsupportedError(f"{slots} slots need {missing:.1f} GiB more than {device} has free; take fewer")
        if pages < wanted:
            share = 100 * pages // wanted
            logger.warning("Memory has room for %d %% of what %d streams may hear", share, slots)
        return cls(kept, min(pages, wanted))


def page_bytes(config: TransformerConfig, dtype: torch.dtype, page: int) -> int:
    """Of one page in all layers."""
    head = config.dim // config.heads * dtype.itemsize + (4 if dtype in EIGHT_BITS else 0)
    return 2 * config.layers * config.heads * page * head


def _codec_bytes(mimi: Mimi, slots: int, frames: int, dtype: torch.dtype | None, page: int) -> int:
    """The codec's memory of all slots, and what a step of all of them computes on the way."""
    config, kept = mimi.encoder_transformer.config, dtype or mimi.downsample.weight.dtype
    memory = slots * ring_of(config.context, 2 * frames, page) * page_bytes(config, kept, page)
    return memory + COPIES * slots * mimi.config.frame_size * mimi.config.encoder_filters * kept.itemsize
