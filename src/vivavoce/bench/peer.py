"""The reference package `moshi`, opened on a model that we wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..core import UnsupportedError


def moshi_info(folder: Path) -> Any:
    """`moshi`'s own description (CheckpointInfo) of a folder that `save_stt` or `save_tts` wrote.

    Raises UnsupportedError without the package.
    """
    os.environ.setdefault("NO_TORCH_COMPILE", "1")  # read when moshi is imported; on a CPU its compiled path is slower
    try:
        from moshi.models.loaders import CheckpointInfo
    except ImportError as error:
        raise UnsupportedError("the peer needs the reference package: pip install --no-deps moshi==0.2.13") from error
    return CheckpointInfo.from_hf_repo(
        "local",
        moshi_weights=folder / "model.safetensors",
        mimi_weights=folder / "mimi.safetensors",
        tokenizer=folder / "tokenizer.model",
        config_path=folder / "config.json",
        mimi_config_path=folder / "mimi.json",
    )


def fill(*memory: torch.Tensor) -> None:
    """With noise: memory that nobody has written is not read from memory."""
    for part in memory:
        part.random_(1, 255) if part.dtype == torch.uint8 else part.uniform_(0.01, 0.02)


def fill_rings(lm: Any) -> None:
    """Of a streaming LM of `moshi`."""
    for module in lm.modules():
        cache = getattr(getattr(module, "_streaming_state", None), "kv_cache", None)
        if cache is not None:
            fill(cache.cache)
