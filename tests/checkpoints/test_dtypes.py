"""Which dtype a model gets where nobody says one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vivavoce.checkpoints.assembly import default_dtype, torch_device
from vivavoce.checkpoints.tensors import Tensors
from vivavoce.core import UnsupportedError

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("kept", "capability", "given"),
    [
        (torch.bfloat16, (7, 5), torch.float16),  # a T4 computes bf16 in software and says that it supports it
        (torch.bfloat16, (8, 0), torch.bfloat16),
        (torch.bfloat16, (9, 0), torch.bfloat16),
        (torch.float32, (7, 5), torch.float32),
        (torch.float16, (7, 5), torch.float16),
    ],
    ids=str,
)
def test_a_gpu_without_bfloat16_gets_float16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: torch.dtype, capability: tuple[int, int], given: torch.dtype
) -> None:
    save_file({"weight": torch.zeros(2, dtype=kept)}, tmp_path / "one.safetensors")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    assert default_dtype(Tensors.open([tmp_path / "one.safetensors"]), CUDA) == given


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is one here")
def test_an_apple_gpu_that_is_not_here_is_said_in_a_few_words() -> None:
    with pytest.raises(UnsupportedError, match=r"^device 'mps' cannot be used: no Apple GPU .{1,40}$"):
        torch_device("mps")


def test_a_cpu_gets_float32_for_a_small_model(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "one.safetensors")
    assert default_dtype(Tensors.open([tmp_path / "one.safetensors"]), CPU) == torch.float32
