"""What tests of the GPU's path share: it runs in Triton's interpreter here, so slowly that everything is tiny."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton", reason="the GPU's kernels are not tested: Triton, which PyPI has for Linux, is not here")

from vivavoce.engine import SttEngine
from vivavoce.engine.codec import PlainEncoder
from vivavoce.engine.gpu.engine import GraphedEngine
from vivavoce.engine.stepper import PlainLm
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi

from .conftest import LM, MIMI, PIECES, lively

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PAGE = 4
torch.backends.cudnn.allow_tf32 = False  # on a GPU: what is compared is fp32
TINY_MIMI = replace(MIMI, dimension=8, encoder_layers=1, hidden=12, codebooks=3, heads=1, context=6)
TINY_LM = replace(LM, dim=12, num_heads=2, num_layers=1, hidden=20, n_q=3, context=5, extra_heads=2, extra_heads_dim=3)


def tiny_models() -> tuple[Mimi, Lm]:
    mimi, lm = lively(TINY_MIMI, TINY_LM)
    return mimi.to(DEVICE), lm.to(DEVICE)


def graphed(models: tuple[Mimi, Lm], slots: int, **how: object) -> GraphedEngine:
    """Captured where there is a GPU; the same code as it is called where there is none."""
    return GraphedEngine(*models, slots, page=PAGE, capture=DEVICE.type == "cuda", pieces=PIECES, **how)  # type: ignore[arg-type]


def beside_plain(models: tuple[Mimi, Lm]) -> Callable[[int], SttEngine]:
    """The GPU's path, but PyTorch's where there is one slot, which is what laws compare with."""

    def engine_of(slots: int) -> SttEngine:
        return SttEngine(*models, 1, PlainLm, PlainEncoder, PIECES) if slots == 1 else graphed(models, slots)

    return engine_of
