"""The kernels of AArch64, whose vectors are NEON, under an emulator, against the PyTorch path and this machine's."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from vivavoce.engine.codec import PlainDecoder, PlainEncoder
from vivavoce.engine.kernels.codec import NativeDecoder, NativeEncoder
from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.lm import NativeLm, Precision
from vivavoce.engine.kernels.packing import Format, pack
from vivavoce.engine.stepper import PlainLm

from . import elsewhere, test_kernels, test_kernels_codec
from .conftest import MIMI
from .likeness import error, model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(elsewhere.missing() is not None, reason=elsewhere.missing() or ""),
]
SLOTS = 3


@pytest.fixture(scope="module")
def neon(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return cast("Library", elsewhere.Elsewhere(tmp_path_factory.mktemp("neon")))


@pytest.mark.parametrize("format", Format, ids=lambda kind: kind.name)
def test_packed_bytes_are_this_machines(kernels: Library, neon: Library, format: Format) -> None:
    weight = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    ours, theirs = (pack(library, weight, format) for library in (kernels, neon))
    assert ours.data.any()
    assert torch.equal(ours.data, theirs.data)
    if ours.scales is not None and theirs.scales is not None:
        assert torch.equal(ours.scales, theirs.scales)


@pytest.mark.parametrize("precision", test_kernels.ERRORS, ids=lambda p: f"{p.weights.name}-{p.memory.name}")
def test_the_error_of_every_precision_is_what_it_is_here(neon: Library, precision: Precision) -> None:
    lm = model(test_kernels.USUAL)
    plain = PlainLm(lm, SLOTS, test_kernels.FRAMES)
    native = NativeLm(neon, lm, SLOTS, test_kernels.FRAMES, precision)
    for call in test_kernels.some_calls(test_kernels.USUAL, SLOTS, 6, 1):
        with torch.inference_mode():
            logits, extra = plain.hear(*call)
        told, pauses = native.hear(*call)
        assert torch.equal(native.position, plain.position)
        assert error(told, logits) < test_kernels.ERRORS[precision]
        assert error(pauses, extra) < 2 * test_kernels.ERRORS[precision]


@test_kernels_codec.KINDS
def test_the_codec_hears_and_says_what_it_does_here(neon: Library, precision: Precision) -> None:
    mimi, count = test_kernels_codec.codec(MIMI), test_kernels_codec.FRAMES
    plain = PlainEncoder(mimi, SLOTS, count), PlainDecoder(mimi, SLOTS, count)
    encoder, decoder = (half(neon, mimi, SLOTS, count, precision) for half in (NativeEncoder, NativeDecoder))
    exact = precision == test_kernels_codec.F32
    same = list[float]()
    for rows, sound in test_kernels_codec.some_calls(MIMI, SLOTS, 6, 2):
        codes = plain[0].encode(rows, sound, MIMI.codebooks)
        assert isinstance(encoder, NativeEncoder)
        assert isinstance(decoder, NativeDecoder)
        same.append(float((encoder.encode(rows, sound, MIMI.codebooks) == codes).float().mean()))
        expected, audio = plain[1].decode(rows, codes), decoder.decode(rows, codes)
        assert float((audio - expected).norm()) <= (1e-5 if exact else 0.05) * float(expected.norm())
    assert sum(same) / len(same) >= (0.98 if exact else 0.9)
