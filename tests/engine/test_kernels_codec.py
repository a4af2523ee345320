"""The codec's native kernels against the PyTorch path: every instruction set of this machine, any shape."""

from __future__ import annotations

import logging
import statistics
from copy import deepcopy
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vivavoce.audio import load
from vivavoce.checkpoints import load_stt
from vivavoce.engine.codec import PlainDecoder, PlainEncoder, fastest_decoder, fastest_encoder
from vivavoce.engine.kernels import library
from vivavoce.engine.kernels.codec import NativeDecoder, NativeEncoder, can_code
from vivavoce.engine.kernels.codec_structures import Conv
from vivavoce.engine.kernels.codec_weights import Weights, quantiser
from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.packing import Format
from vivavoce.engine.kernels.weights import Precision
from vivavoce.nn.conv import CausalConv1d, ConvState
from vivavoce.nn.mimi import Mimi, MimiConfig
from vivavoce.nn.rows import Rows
from vivavoce.nn.seanet import Residual

from .conftest import MIMI

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.flac"
FRAMES = 3  # of a call at most
F32, BF16, I8 = (Precision(kind, kind) for kind in (Format.FLOAT32, Format.BFLOAT16, Format.INT8))
KINDS = pytest.mark.parametrize("precision", [F32, BF16, I8], ids=["float32", "bfloat16", "int8"])


@st.composite
def shapes(draw: st.DrawFn) -> MimiConfig:
    """Sizes that are multiples of nothing but what the model asks for."""
    heads, ratios = draw(st.integers(1, 3)), draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    kernel = st.integers(1, 4)
    return MimiConfig(
        encoder_filters=2 * draw(st.integers(1, 9)),
        decoder_filters=2 * draw(st.integers(1, 9)),
        ratios=tuple(ratios),
        kernels=(draw(st.integers(1, 8)), draw(kernel), draw(kernel)),
        dimension=heads * draw(st.sampled_from([2, 6, 16, 18])),
        encoder_layers=draw(st.integers(1, 2)),
        decoder_layers=draw(st.integers(1, 2)),
        hidden=draw(st.integers(1, 70)),
        codebooks=draw(st.integers(2, 6)),
        bins=draw(st.integers(1, 70)),
        codebook_dim=draw(st.integers(1, 40)),
        heads=heads,
        context=draw(st.integers(1, 20)),
        max_period=draw(st.sampled_from([100.0, 10_000.0])),
    )


def codec(config: MimiConfig, seed: int = 0) -> Mimi:
    """Random weights, and codebooks of the size of what they quantise."""
    torch.manual_seed(seed)
    mimi = Mimi(config).eval().requires_grad_(False)
    for name, parameter in mimi.named_parameters():
        if parameter.ndim >= 2:
            nn.init.normal_(parameter, std=1.5 * max(1, parameter[0].numel()) ** -0.5)
        else:
            nn.init.normal_(parameter, 0.0 if "bias" in name else 1.0, 0.2)
    latent = mimi.latent(torch.randn(1, 20 * config.frame_size))
    for half in (mimi.quantizer.semantic, mimi.quantizer.acoustic):
        half.codebooks.normal_(std=float(half.project_in(latent).std()))
    return mimi


def some_calls(config: MimiConfig, slots: int, calls: int, seed: int) -> list[tuple[Rows, Tensor]]:
    """What random slots hear."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(calls):
        batch, count = rng.integers(1, slots + 1), rng.integers(1, FRAMES + 1)
        sound = rng.standard_normal((batch, count * config.frame_size)).astype(np.float32)
        made.append((Rows(sorted(rng.permutation(slots)[:batch].tolist())), torch.from_numpy(sound)))
    return made


def equal_but_for_ties(ours: Tensor, theirs: Tensor) -> bool:
    """Codes of which the sixth decimal may have decided; after one that differs, all later ones of the chain may."""
    return float((ours != theirs).any(-1).float().mean()) < 0.02


@given(config=shapes(), slots=st.integers(1, 5), seed=st.integers(0, 9))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_shape_gives_pytorchs_codes_on_every_instruction_set(
    kernels: Library, config: MimiConfig, slots: int, seed: int
) -> None:
    """In calls of random slots and frames, beyond the context, some slots opened again or restored on the way."""
    mimi, rng = codec(config, seed), np.random.default_rng(seed)
    plain = PlainEncoder(mimi, slots, FRAMES)
    natives = [NativeEncoder(kernels, mimi, slots, FRAMES, isa=isa) for isa in kernels.isas]
    told: list[list[Tensor]] = [[] for _ in kernels.isas]
    expected = []
    for rows, sound in some_calls(config, slots, 10, seed):
        if rng.random() < 0.4:
            slot, first = int(rng.integers(slots)), int(rng.integers(0, 10_000))
            past = torch.from_numpy(rng.standard_normal((1, int(rng.integers(1, 12)) * config.frame_size)))
            for encoder in (plain, *natives):
                encoder.reset(slot)
                if first % 2:
                    encoder.prefill(past.float(), slot, first)
        expected.append(plain.encode(rows, sound, config.codebooks).flatten(0, 1))
        for native, codes in zip(natives, told, strict=True):
            codes.append(native.encode(rows, sound, config.codebooks).flatten(0, 1))
            assert torch.equal(native.position, plain.position)
    for codes in told:
        assert equal_but_for_ties(torch.cat(codes), torch.cat(expected))


@given(config=shapes(), slots=st.integers(1, 5), seed=st.integers(0, 9))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_shape_gives_pytorchs_audio_on_every_instruction_set(
    kernels: Library, config: MimiConfig, slots: int, seed: int
) -> None:
    mimi, rng = codec(config, seed), np.random.default_rng(seed)
    plain = PlainDecoder(mimi, slots, FRAMES)
    natives = [NativeDecoder(kernels, mimi, slots, FRAMES, isa=isa) for isa in kernels.isas]
    for rows, sound in some_calls(config, slots, 10, seed):
        count = int(rng.integers(1, config.codebooks + 1))
        codes = torch.from_numpy(rng.integers(0, config.bins, (len(sound), sound.shape[1] // config.frame_size, count)))
        if rng.random() < 0.4:
            slot, first = int(rng.integers(slots)), int(rng.integers(0, 10_000))
            past = torch.from_numpy(rng.integers(0, config.bins, (1, int(rng.integers(1, 12)), count)))
            for decoder in (plain, *natives):
                decoder.reset(slot)
                if first % 2:
                    decoder.prefill(past, slot, first)
        expected = plain.decode(rows, codes)
        for native in natives:
            audio = native.decode(rows, codes)
            assert torch.equal(native.position, plain.position)
            torch.testing.assert_close(audio, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


@given(config=shapes(), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_any_shape_in_bf16_hears_and_says_nearly_the_same_on_every_instruction_set(
    kernels: Library, config: MimiConfig, seed: int
) -> None:
    """Audio within a tenth of fp32's, which narrow layers come to (real ones a hundredth); and most first codes."""
    mimi, rng = codec(config, seed), np.random.default_rng(seed)
    plain = PlainEncoder(mimi, 3, FRAMES), PlainDecoder(mimi, 3, FRAMES)
    halves = NativeEncoder, NativeDecoder
    natives = [[half(kernels, mimi, 3, FRAMES, BF16, isa=isa) for half in halves] for isa in kernels.isas]
    same = [0.0 for _ in natives]
    heard = 0
    for rows, sound in some_calls(config, 3, 8, seed):
        codes = torch.from_numpy(rng.integers(0, config.bins, (len(sound), sound.shape[1] // config.frame_size, 2)))
        first, expected = plain[0].encode(rows, sound, 1), plain[1].decode(rows, codes)
        heard += first.numel()
        for index, (encoder, decoder) in enumerate(natives):
            audio = decoder.decode(rows, codes)
            assert float((audio - expected).norm()) <= 0.1 * float(expected.norm())
            same[index] += float((encoder.encode(rows, sound, 1) == first).sum())
    assert min(same) >= 0.7 * heard


class InBytes(CausalConv1d):
    """A convolution of an ELU's results in bytes: one range for each frame and its tail, weights rounded by output."""

    frame: int  # inputs of one

    @classmethod
    def made_of(cls, conv: CausalConv1d, frame: int) -> None:
        scale = conv.weight.abs().amax((1, 2), keepdim=True) / 127
        conv.weight = nn.Parameter((conv.weight / scale).round() * scale, requires_grad=False)
        conv.__class__ = cls
        cast("InBytes", conv).frame = frame

    def forward(self, x: Tensor, state: ConvState | None = None, rows: Rows | None = None) -> Tensor:
        return torch.cat([self._of_a_frame(part, state, rows) for part in x.split(self.frame, 1)], 1)

    def _of_a_frame(self, x: Tensor, state: ConvState | None, rows: Rows | None) -> Tensor:
        if self.context:
            assert state is not None and rows is not None
            x = torch.cat([rows.read(state.tail), x], 1)
            rows.write(state.tail, x[:, -self.context :])
        least, most = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        step = ((most - least) / 255).clamp_min(1e-30)
        x = ((x - least) / step).round() * step + least
        weight = self.weight.permute(0, 2, 1)
        return F.conv1d(x.transpose(1, 2), weight, self.bias, self.stride).transpose(1, 2)


def hearing_in_bytes(mimi: Mimi) -> Mimi:
    """A copy whose encoder convolves a stream's own frames in bytes, but for the first convolution."""
    mimi = deepcopy(mimi)
    rate = mimi.config.frame_size
    for block in list(mimi.encoder.blocks)[1:-2]:
        for conv in (block.narrow, block.widen) if isinstance(block, Residual) else (cast("CausalConv1d", block),):
            InBytes.made_of(conv, rate)
        rate //= getattr(block, "stride", 1)
    return mimi


@given(config=shapes(), slots=st.integers(1, 5), seed=st.integers(0, 9))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_shape_gives_what_pytorch_makes_of_the_same_bytes_on_every_instruction_set(
    kernels: Library, config: MimiConfig, slots: int, seed: int
) -> None:
    """Compared is what the last convolution of a stream's own is given: it keeps the end of every frame."""
    mimi, rng = codec(config, seed), np.random.default_rng(seed)
    plain = PlainEncoder(hearing_in_bytes(mimi), slots, FRAMES)
    natives = [NativeEncoder(kernels, mimi, slots, FRAMES, I8, threads=2, isa=isa) for isa in kernels.isas]
    state = cast("ConvState", plain._state.seanet[-2])
    far: list[list[float]] = [[] for _ in natives]
    for rows, sound in some_calls(config, slots, 10, seed):
        if rng.random() < 0.4:
            slot = int(rng.integers(slots))
            past = torch.from_numpy(rng.standard_normal((1, int(rng.integers(1, 5)) * config.frame_size)))
            for encoder in (plain, *natives):
                encoder.reset(slot)
                encoder.prefill(past.float(), slot, 7)
        plain.encode(rows, sound, 1)
        for index, native in enumerate(natives):
            native.encode(rows, sound, 1)
            down = (Conv * (3 * len(config.ratios) + 1)).from_address(native._struct.convs)[-1]
            ours, theirs = native._memory.tails[:, down.tail : down.tail + down.kept], state.tail.flatten(1)
            far[index].append(float((ours - theirs).norm() / theirs.norm()))
    for distances in far:
        assert statistics.median(distances) < 1e-5  # bytes alone are a hundredth from what fp32 makes
        assert max(distances) < 0.05  # a number that lies half-way between two bytes may be rounded to either


@KINDS
def test_neither_neighbours_nor_frames_at_once_nor_threads_change_a_bit(kernels: Library, precision: Precision) -> None:
    """Compared are the rings, which hold what the last digit of every layer has made."""
    mimi = codec(MIMI)
    for isa in kernels.isas:
        together = NativeEncoder(kernels, mimi, 7, 4, precision, threads=2, isa=isa)
        alone = NativeEncoder(kernels, mimi, 1, 4, precision, isa=isa)
        sound = torch.randn(7, 12 * MIMI.frame_size, generator=torch.Generator().manual_seed(0))
        whole = [together.encode(Rows(range(7)), part, 5) for part in sound.split(4 * MIMI.frame_size, 1)]
        single = [alone.encode(Rows([0]), part[5:6], 5) for part in sound.split(MIMI.frame_size, 1)]
        assert torch.equal(torch.cat(whole, 1)[5:6], torch.cat(single, 1))
        rings = [encoder._memory.rings.tensors for encoder in (alone, together)]
        for mine, theirs in zip(*rings, strict=True):
            assert mine.any()
            assert torch.equal(mine.view(MIMI.encoder_layers, -1), theirs.view(MIMI.encoder_layers, 7, -1)[:, 5])
        assert torch.equal(alone._memory.tails[0], together._memory.tails[5])


@KINDS
def test_neither_neighbours_nor_threads_change_a_bit_of_the_audio(kernels: Library, precision: Precision) -> None:
    mimi = codec(MIMI)
    codes = torch.randint(MIMI.bins, (7, 12, 5), generator=torch.Generator().manual_seed(0))
    for isa in kernels.isas:
        together = NativeDecoder(kernels, mimi, 7, 4, precision, threads=2, isa=isa)
        alone = NativeDecoder(kernels, mimi, 1, 4, precision, isa=isa)
        whole = [together.decode(Rows(range(7)), part) for part in codes.split(4, 1)]
        single = [alone.decode(Rows([0]), part[5:6]) for part in codes.split(1, 1)]
        assert torch.equal(torch.cat(whole, 1)[5:6], torch.cat(single, 1))


def test_a_code_that_no_book_has_is_told_and_nothing_is_said(kernels: Library) -> None:
    native = NativeDecoder(kernels, codec(MIMI), 2, FRAMES)
    for code in (-1, MIMI.bins):
        with pytest.raises(IndexError, match=r"^a code is out of bounds"):
            native.decode(Rows([1]), torch.full((1, 1, 5), code))
    assert native.position.tolist() == [0, 0]


def test_a_slot_or_a_frame_or_a_codebook_too_many_is_told_and_nothing_is_heard(kernels: Library) -> None:
    native = NativeEncoder(kernels, codec(MIMI), 2, FRAMES)
    for slot, frames, codebooks, told in (
        (2, 1, 5, "a slot"),
        (0, FRAMES + 1, 5, "the number of frames"),
        (0, 1, 6, "the number of codebooks"),
    ):
        with pytest.raises(IndexError, match=f"^{told} is out of bounds"):
            native.encode(Rows([slot]), torch.zeros(1, frames * MIMI.frame_size), codebooks)
    assert native.position.tolist() == [0, 0]


def test_every_code_of_the_example_is_pytorchs(kernels: Library) -> None:
    mimi = load_stt(device="cpu").mimi
    sound = torch.from_numpy(load(EXAMPLE))
    sound = sound[: len(sound) // 1920 * 1920].clone()
    with torch.inference_mode():
        expected = mimi.encode(sound[None])[0]
        native = NativeEncoder(kernels, mimi, 1, 16)
        codes = torch.cat([native.encode(Rows([0]), part[None], 16)[0] for part in sound.split(16 * 1920)])
    assert len(expected[:, 0].unique()) > 20
    assert torch.equal(codes, expected)


@pytest.mark.parametrize("format", [Format.BFLOAT16, Format.INT8], ids=lambda kind: kind.name)
def test_books_that_are_kept_rounded_give_the_exact_codes(kernels: Library, format: Format) -> None:
    mimi, sound = load_stt(device="cpu").mimi, torch.from_numpy(load(EXAMPLE)[: 60 * 1920].copy())
    for isa in kernels.isas:
        exact, listed = (NativeEncoder(kernels, mimi, 1, 16, isa=isa) for _ in range(2))
        weights = Weights(kernels, mimi, format)
        listed._struct.quantiser = quantiser(weights, mimi.quantizer)
        for part in sound[None].split(15 * 1920, 1):
            ours, theirs = (encoder.encode(Rows([0]), part, 16) for encoder in (listed, exact))
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("format", "first", "every"), [("BFLOAT16", 0.98, 0.75), ("INT8", 0.97, 0.5)])
def test_how_many_codes_rounded_weights_keep_is_known(
    kernels: Library, format: str, first: float, every: float
) -> None:
    """Of the example, in the first codebook and in all; the embedded model keeps fp32."""
    mimi, sound = load_stt(device="cpu").mimi, torch.from_numpy(load(EXAMPLE)[: 140 * 1920].copy())
    precisions = Precision(*[Format.FLOAT32] * 2), Precision(*[Format[format]] * 2)
    exact, rounded = (NativeEncoder(kernels, mimi, 1, 16, precision) for precision in precisions)
    parts = sound[None].split(14 * 1920, 1)
    ours, theirs = (torch.cat([e.encode(Rows([0]), part, 16) for part in parts], 1) for e in (rounded, exact))
    equal = (ours == theirs).float()
    assert equal[..., 0].mean() > first
    assert equal.mean() > every


def test_without_a_compiler_pytorch_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(library, "_folders", lambda: [tmp_path])
    library.library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert isinstance(fastest_encoder(codec(MIMI), 1, 1), PlainEncoder)
            assert isinstance(fastest_decoder(codec(MIMI), 1, 1), PlainDecoder)
    finally:
        library.library.cache_clear()


def test_a_codec_in_half_precision_is_pytorchs(kernels: Library) -> None:
    assert can_code(codec(MIMI))
    assert not can_code(codec(MIMI).half())
