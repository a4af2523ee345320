"""A small random model of the released architecture; all sizes differ from one another on purpose."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from vivavoce.checkpoints import load_stt
from vivavoce.engine import SttEngine
from vivavoce.engine.codec import DecoderOf, Encoder, EncoderOf, PlainDecoder, PlainEncoder
from vivavoce.engine.kernels.codec import NativeDecoder, NativeEncoder
from vivavoce.engine.kernels.library import Library, library
from vivavoce.engine.kernels.lm import NativeLm, Precision
from vivavoce.engine.kernels.packing import Format
from vivavoce.engine.stepper import PlainLm, Stepper, StepperOf
from vivavoce.engine.terms import Term
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
PIECES = ("<unk>", "<s>", "</s>", "<pad>", *(f"▁{letter}" for letter in "abcdefgh"), *"ijklmnop")
TERMS = (Term((4, 12, 5), 6.0), Term((4, 13, 14), 3.0), Term((6,), 2.0), Term((7, 8, 9), 4.0))  # of words, and phrases


@pytest.fixture(scope="session")
def models() -> tuple[Mimi, Lm]:
    return lively(MIMI, LM)


def lively(mimi_config: MimiConfig, lm_config: LmConfig) -> tuple[Mimi, Lm]:
    """Weights large enough that tokens and codes really vary."""
    torch.manual_seed(3)
    mimi, lm = Mimi(mimi_config).eval(), Lm(lm_config).eval()
    for parameter in [*mimi.parameters(), *lm.parameters()]:
        if parameter.ndim >= 2 and parameter.numel():
            nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
    with torch.no_grad():
        latent = mimi.latent(torch.randn(1, 60 * mimi_config.frame_size))
        for half in (mimi.quantizer.semantic, mimi.quantizer.acoustic):
            spread = half.project_in(latent).std()
            half.codebooks.normal_(std=float(spread))
        lm.embeddings[-1] = 0
    return mimi, lm


@pytest.fixture(scope="session")
def kernels() -> Library:
    """The native library, or the one that VIVAVOCE_TEST_KERNELS names; without a compiler there is nothing to test."""
    named = os.environ.get("VIVAVOCE_TEST_KERNELS")
    found = Library(Path(named)) if named else library()
    if found is None:
        pytest.skip("no native kernels: no C++ compiler here, and none was at hand when this was installed")
    return found


EXACT = ("pytorch", "float32", "float32 plain")
ROUNDED = ("bfloat16", "int8", "int4")
PRECISIONS = {
    "float32": Precision(Format.FLOAT32, Format.FLOAT32),
    "bfloat16": Precision(Format.BFLOAT16, Format.BFLOAT16),
    "int8": Precision(Format.INT8, Format.INT8),
    "int4": Precision(Format.INT4, Format.INT4),
}


def stepper_of(path: str, request: pytest.FixtureRequest) -> StepperOf:
    """PyTorch, or the kernels in some precision and on some instruction set, with one thread."""
    if path == "pytorch":
        return PlainLm
    kernels: Library = request.getfixturevalue("kernels")
    precision, isa = PRECISIONS[path.split()[0]], path.partition(" ")[2] or None

    def native(lm: Lm, slots: int, frames: int) -> Stepper:
        return NativeLm(kernels, lm, slots, frames, precision, isa=isa)

    return native


def encoder_of(path: str, request: pytest.FixtureRequest) -> EncoderOf:
    """PyTorch, or the kernels on the instruction set that `path` names, one thread, rounded as beside such an LM."""
    if path == "pytorch":
        return PlainEncoder
    kernels: Library = request.getfixturevalue("kernels")
    beside = {"int4": "int8"}.get(path, path)  # what the codec is beside an LM that is kept so
    precision, isa = PRECISIONS[beside.split()[0]], path.partition(" ")[2] or None

    def native(mimi: Mimi, slots: int, frames: int) -> Encoder:
        return NativeEncoder(kernels, mimi, slots, frames, precision, isa=isa)

    return native


def decoder_of(path: str, request: pytest.FixtureRequest) -> DecoderOf:
    """Likewise, in fp32 always."""
    if path == "pytorch":
        return PlainDecoder
    kernels: Library = request.getfixturevalue("kernels")
    return lambda mimi, slots, frames: NativeDecoder(kernels, mimi, slots, frames)


@pytest.fixture(scope="session", params=EXACT + ROUNDED)
def engine_of(models: tuple[Mimi, Lm], request: pytest.FixtureRequest) -> Callable[[int], SttEngine]:
    """A new engine with that many slots over the shared weights, stepped in each of the ways there are."""
    how = stepper_of(request.param, request), encoder_of(request.param, request)
    return lambda slots: SttEngine(*models, slots, *how, PIECES)


@pytest.fixture(scope="session", params=EXACT)
def exact_engine_of(models: tuple[Mimi, Lm], request: pytest.FixtureRequest) -> Callable[[int], SttEngine]:
    """In those ways that round no more than fp32 does."""
    how = stepper_of(request.param, request), encoder_of(request.param, request)
    return lambda slots: SttEngine(*models, slots, *how, PIECES)


@pytest.fixture(scope="module", params=["pytorch", "float32"])
def embedded(request: pytest.FixtureRequest) -> SttEngine:
    model = load_stt(device="cpu")
    how = stepper_of(request.param, request), encoder_of(request.param, request)
    return SttEngine(model.mimi, model.lm, 2, *how)
