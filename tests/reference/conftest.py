"""The peers: each test of this folder gives the same weights to another implementation and compares."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vivavoce.checkpoints import SttModel, save_stt

os.environ["NO_TORCH_COMPILE"] = "1"  # moshi reads it when imported; compiling would cost more than the tests
Peer = Callable[[SttModel], Any]


@pytest.fixture
def written(tmp_path: Path, tokenizer: bytes) -> Callable[[SttModel], Path]:
    """Writes a model in the PyTorch layout, fp32, and returns the folder."""

    def write(model: SttModel) -> Path:
        save_stt(model, tmp_path, dtype=torch.float32, tokenizer=tokenizer)
        return tmp_path

    return write


@pytest.fixture
def moshi(written: Callable[[SttModel], Path]) -> Peer:
    """The reference package's own description of what we wrote, opened with its own loader."""
    loaders = pytest.importorskip("moshi.models.loaders", reason="the reference package moshi is not installed")

    def load(model: SttModel) -> Any:
        folder = written(model)
        return loaders.CheckpointInfo.from_hf_repo(
            "local",
            moshi_weights=folder / "model.safetensors",
            mimi_weights=folder / "mimi.safetensors",
            tokenizer=folder / "tokenizer.model",
            config_path=folder / "config.json",
            mimi_config_path=folder / "mimi.json",
        )

    return load
