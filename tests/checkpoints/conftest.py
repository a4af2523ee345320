"""Checkpoint folders to load, and ways to damage them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vivavoce.checkpoints import SttModel, save_stt

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session")
def model(make_model: Callable[..., SttModel]) -> SttModel:
    return make_model()


@pytest.fixture
def folder(model: SttModel, tmp_path: Path, tokenizer: bytes) -> Path:
    """A small model in the PyTorch layout, fp32."""
    save_stt(model, tmp_path / "small", dtype=torch.float32, tokenizer=tokenizer)
    return tmp_path / "small"


@pytest.fixture
def edit(folder: Path) -> Callable[[str, Change], None]:
    """`edit(file, change)`: rewrite a JSON or safetensors file of the folder after changing its dict in place."""

    def rewrite(file: str, change: Change) -> None:
        path = folder / file
        if path.suffix == ".json":
            values = json.loads(path.read_text())
            change(values)
            path.write_text(json.dumps(values))
        else:
            tensors: dict[str, Tensor] = {name: tensor.clone() for name, tensor in load_file(path).items()}
            change(tensors)
            save_file(tensors, path)

    return rewrite


@pytest.fixture
def listed(shared: Path) -> Callable[[str], dict[str, tuple[tuple[int, ...], str]]]:
    """Names to shape and dtype of a released file."""

    def read(name: str) -> dict[str, tuple[tuple[int, ...], str]]:
        entries = json.loads((shared / "spec" / "names" / f"names-{name}.json").read_text())["tensors"]
        return {entry["name"]: (tuple(entry["shape"]), entry["dtype"]) for entry in entries}

    return read
