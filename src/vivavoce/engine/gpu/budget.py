"""How a GPU's memory is divided: what the codec and the graphs need, and the rest in pages."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from vivavoce.core import UnsupportedError
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi

from .sizes import codec_bytes, page_bytes, ring_of, usable
from .support import eight_bit

logger = logging.getLogger(__name__)


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
        left = usable(free) - slots * codec_bytes(mimi, frames, codec, page)
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
