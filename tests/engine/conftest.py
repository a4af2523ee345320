"""A small random model of the released architecture; all sizes differ from one another on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vivavoce.checkpoints import load_stt
from vivavoce.engine import SttEngine
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.mimi import Mimi, MimiConfig

MIMI = MimiConfig(
    encoder_filters=4, decoder_filters=4, ratios=(2, 3), kernels=(7, 3, 3), dimension=16, encoder_layers=2,
    decoder_layers=1, hidden=24, codebooks=5, bins=32, codebook_dim=8, heads=2, context=10, max_period=100.0,
)  # fmt: skip
LM = LmConfig(
    dim=24, num_heads=3, num_layers=2, hidden=40, n_q=4, card=32, text_card=20, text_card_out=20, context=7,
    max_period=1000.0, extra_heads=4, extra_heads_dim=6,
)  # fmt: skip


@pytest.fixture(scope="session")
def models() -> tuple[Mimi, Lm]:
    """Weights large enough that tokens and codes really vary."""
    torch.manual_seed(3)
    mimi, lm = Mimi(MIMI).eval(), Lm(LM).eval()
    for parameter in [*mimi.parameters(), *lm.parameters()]:
        if parameter.ndim >= 2:
            nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
    with torch.no_grad():
        latent = mimi.latent(torch.randn(1, 60 * MIMI.frame_size))
        for half in (mimi.quantizer.semantic, mimi.quantizer.acoustic):
            spread = half.project_in(latent).std()
            half.codebooks.normal_(std=float(spread))
        lm.embeddings[-1] = 0
    return mimi, lm


@pytest.fixture(scope="session")
def engine_of(models: tuple[Mimi, Lm]) -> Callable[[int], SttEngine]:
    """A new engine with that many slots over the shared weights."""
    return lambda slots: SttEngine(*models, slots)


@pytest.fixture(scope="module")
def embedded() -> SttEngine:
    model = load_stt(device="cpu")
    return SttEngine(model.mimi, model.lm, 2)
