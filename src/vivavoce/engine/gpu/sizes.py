"""What a stream takes of a GPU's memory, told without a GPU and without Triton; modules may be on the meta device."""

from __future__ import annotations

import torch

from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi
from vivavoce.nn.transformer import TransformerConfig

PAGE = 16  # positions
EIGHT_BITS = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}  # the largest number kept
SHARE = 0.97  # of what is free: allocators keep blocks that fit nothing
COPIES = 8  # of the codec's widest activation that are there at once
LIBRARIES = 1 << 30  # bytes: workspaces of cuBLAS and cuDNN, code


def usable(free: int) -> int:
    """Bytes for streams, of so many that are free once the weights are loaded."""
    return int(free * SHARE) - LIBRARIES


def packed_bytes(lm: Lm) -> int:
    """Of an LM whose layers are packed in 8 bits; the scales are a thousandth."""
    layers = [weight.numel() for weight in lm.transformer.parameters() if weight.ndim == 2]
    rest = lm.embeddings.itemsize * (sum(weight.numel() for weight in lm.parameters()) - sum(layers))
    return sum(layers) + rest


def slot_bytes(mimi: Mimi, lm: Lm, frames: int, kept: torch.dtype, page: int = PAGE) -> int:
    """Of a stream that has heard its whole context, keys and values of the LM in `kept`; calls of up to `frames`."""
    config = lm.transformer.config
    ring = ring_of(config.context, frames, page)
    return ring * page_bytes(config, kept, page) + codec_bytes(mimi, frames, None, page)


def ring_of(context: int, count: int, page: int = PAGE) -> int:
    """Pages that `context` positions and the rest of a call of `count` touch at most."""
    return (context + count - 1 + page - 2) // page + 1


def page_bytes(config: TransformerConfig, dtype: torch.dtype, page: int) -> int:
    """Of one page in all layers."""
    head = config.dim // config.heads * dtype.itemsize + (4 if dtype in EIGHT_BITS else 0)
    return 2 * config.layers * config.heads * page * head


def codec_bytes(mimi: Mimi, frames: int, dtype: torch.dtype | None, page: int) -> int:
    """The codec's memory of a slot, and what a step computes for it on the way."""
    config, kept = mimi.encoder_transformer.config, dtype or mimi.downsample.weight.dtype
    memory = ring_of(config.context, 2 * frames, page) * page_bytes(config, kept, page)
    return memory + COPIES * mimi.config.frame_size * mimi.config.encoder_filters * kept.itemsize
