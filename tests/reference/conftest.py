"""The peers: each test of this folder gives the same weights to another implementation and compares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vivavoce.bench.step import moshi_info
from vivavoce.checkpoints import SttModel, save_stt

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
    pytest.importorskip("moshi.models.loaders", reason="the reference package moshi is not installed")
    return lambda model: moshi_info(written(model))
