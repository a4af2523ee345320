"""Networks of released shapes with noise for weights: what a step costs does not depend on what it says."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from ..core import UnsupportedError
from ..nn.lm import Lm, LmConfig
from ..nn.mimi import Mimi, MimiConfig
from .model import SttConfig, SttModel

M = TypeVar("M", bound=nn.Module)
RANDOM = "random:"  # begins the name of such a model
SHAPES: dict[str, tuple[MimiConfig, LmConfig]] = {
    "embedded": (
        MimiConfig(8, 8, (4, 5, 6, 8), (7, 3, 3), 128, 3, 3, 512, 16, 512, 64, heads=4, context=50),
        LmConfig(256, 4, 4, 704, 16, 512, 14, 14, 50, 100_000.0, 4, 6),
    ),
    "stt-1b": (
        MimiConfig(64, 64, (4, 5, 6, 8), (7, 3, 3), 512, 8, 8, 2048, 32, 2048, 256),
        LmConfig(2048, 16, 16, 5632, 32, 2048, 8000, 8000, 750, 100_000.0, 4, 6),
    ),
    "stt-2.6b": (
        MimiConfig(64, 64, (4, 5, 6, 8), (7, 3, 3), 512, 8, 8, 2048, 32, 2048, 256),
        LmConfig(2048, 32, 48, 5632, 32, 2048, 4000, 4000, 375, 100_000.0),
    ),
}


def random_stt(shape: str, device: torch.device, dtype: torch.dtype | None = None) -> SttModel:
    """A model that says nonsense at the pace of a real one; the LM is bfloat16 unless it is small.

    Raises UnsupportedError for a shape without a name.
    """
    if shape not in SHAPES:
        raise UnsupportedError(f"{RANDOM}{shape} is not one of {', '.join(RANDOM + name for name in SHAPES)}")
    mimi, lm = random_models(shape, dtype or (torch.float32 if shape == "embedded" else torch.bfloat16))
    pieces = tuple(f"▁w{token}" for token in range(lm.config.text_card_out))
    return SttModel(SttConfig(f"random-{shape}", 0.5), mimi.to(device), lm.to(device), pieces)


def random_models(shape: str, dtype: torch.dtype) -> tuple[Mimi, Lm]:
    """Modules with noise in every weight, on the CPU, the codec in fp32."""
    mimi_config, lm_config = SHAPES[shape]
    with torch.device("meta"):
        mimi, lm = Mimi(mimi_config), Lm(lm_config).to(dtype)
    return noisy(mimi), noisy(lm)


def noisy(module: M) -> M:
    """A module that was made on the meta device, on the CPU with noise in every weight."""
    module = module.to_empty(device="cpu").requires_grad_(False)
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(1))
    for name, weight in module.named_parameters():
        if weight.ndim == 1 or not weight.numel():
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        for part in weight.view(-1).split(len(noise)):  # repeated: a step's cost does not depend on the values
            part.copy_(noise[: len(part)] * weight[0].numel() ** -0.5)
    return module.eval()
