"""The native kernels against the PyTorch path: every instruction set of this machine, every format, any shape."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vivavoce.audio import load
from vivavoce.checkpoints import load_stt
from vivavoce.core import FRAME_SIZE
from vivavoce.engine import SttEngine
from vivavoce.engine.answer import Answer
from vivavoce.engine.kernels import build, library
from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.lm import NativeLm, Precision, can_step
from vivavoce.engine.kernels.packing import Format, pack
from vivavoce.engine.stepper import PlainLm, fastest
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.rows import Rows

from .conftest import LM, PRECISIONS
from .likeness import error, model

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.flac"
FRAMES = 4  # of a call at most
F32, BF16, INT8, INT4 = Format
ERRORS = {  # relative, of the logits of `USUAL`: three layers of random weights, each adding its own
    Precision(F32, F32): 2e-6,
    Precision(F32, BF16): 0.005,
    Precision(F32, INT8): 0.01,
    Precision(F32, INT4): 0.1,
    Precision(BF16, BF16): 0.01,
    Precision(INT8, F32): 0.04,
    Precision(INT8, INT8): 0.04,
    Precision(INT4, INT8): 0.3,
    Precision(INT4, INT4): 0.3,
}
USUAL = LmConfig(
    dim=192, num_heads=3, num_layers=3, hidden=320, n_q=4, card=32, text_card=40, text_card_out=40, context=20,
    max_period=100_000.0, extra_heads=4, extra_heads_dim=6,
)  # fmt: skip


@st.composite
def shapes(draw: st.DrawFn) -> LmConfig:
    """Sizes that are multiples of nothing but what the model asks for."""
    heads = draw(st.integers(1, 5))
    return LmConfig(
        dim=heads * draw(st.sampled_from([2, 6, 16, 18, 32, 50, 64])),
        num_heads=heads,
        num_layers=draw(st.integers(1, 3)),
        hidden=draw(st.integers(1, 150)),
        n_q=draw(st.integers(1, 6)),
        card=draw(st.integers(1, 40)),
        text_card=draw(st.integers(1, 40)),
        text_card_out=draw(st.integers(1, 90)),
        context=draw(st.integers(1, 40)),
        max_period=draw(st.sampled_from([100.0, 100_000.0])),
        extra_heads=draw(st.integers(0, 3)),
        extra_heads_dim=draw(st.integers(1, 6)),
    )


def some_calls(config: LmConfig, slots: int, calls: int, seed: int) -> list[tuple[Rows, Tensor, Tensor]]:
    """What random slots hear, none and start tokens among it."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(calls):
        batch, count = rng.integers(1, slots + 1), rng.integers(1, FRAMES + 1)
        rows = Rows(sorted(rng.permutation(slots)[:batch].tolist()))
        text = torch.from_numpy(rng.integers(-1, config.text_card + 1, (batch, count)))
        codes = torch.from_numpy(rng.integers(-1, config.card + 1, (batch, count, config.n_q)))
        made.append((rows, text, codes))
    return made


@pytest.mark.parametrize("precision", ERRORS, ids=lambda p: f"{p.weights.name}-{p.memory.name}")
def test_the_error_of_every_precision_is_known(kernels: Library, precision: Precision) -> None:
    lm = model(USUAL)
    plain = PlainLm(lm, 5, FRAMES)
    natives = [NativeLm(kernels, lm, 5, FRAMES, precision, isa=isa) for isa in kernels.isas]
    for call in some_calls(USUAL, 5, 30, 1):
        with torch.inference_mode():
            logits, _ = plain.hear(*call)
        for native in natives:
            assert error(native.hear(*call)[0], logits) < ERRORS[precision]


@given(config=shapes(), slots=st.integers(1, 9), seed=st.integers(0, 9), equal=st.booleans())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_an_answer_is_what_pytorch_makes_of_the_same_logits(
    kernels: Library, config: LmConfig, slots: int, seed: int, equal: bool
) -> None:
    """Of equal logits, the first token; no logits, no pauses."""
    lm = model(config, seed)
    if equal:
        lm.text_head.weight.data.zero_()
    for isa in kernels.isas:
        native, again = (NativeLm(kernels, lm, slots, FRAMES, isa=isa) for _ in range(2))
        for call in some_calls(config, slots, 5, seed):
            answer, expected = native.answer(*call), Answer.of(*again.hear(*call))
            assert torch.equal(answer.logits, expected.logits)
            assert torch.equal(answer.token, expected.token)
            for told, made in ((answer.norm, expected.norm), (answer.pauses, expected.pauses)):
                torch.testing.assert_close(told, made)
            assert torch.equal(answer.logprob, answer.logits.amax(-1) - answer.norm)


@given(config=shapes(), precision=st.sampled_from(list(ERRORS)), slots=st.integers(1, 9), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_shape_gives_what_pytorch_gives_on_every_instruction_set(
    kernels: Library, config: LmConfig, precision: Precision, slots: int, seed: int
) -> None:
    """In calls of random slots and frames, beyond the context, some slots restored on the way.

    What is rounded is only held to be no nonsense: of a head of two numbers, a rounded one may turn the attention.
    """
    tolerance = 1e-4 if precision == Precision(F32, F32) else 1.0
    lm, rng = model(config, seed), np.random.default_rng(seed)
    plain = PlainLm(lm, slots, FRAMES)
    natives = [NativeLm(kernels, lm, slots, FRAMES, precision, isa=isa) for isa in kernels.isas]
    for rows, text, codes in some_calls(config, slots, 12, seed):
        if rng.random() < 0.3:
            slot, length, first = int(rng.integers(slots)), int(rng.integers(1, 60)), int(rng.integers(0, 10_000))
            past = (
                torch.from_numpy(rng.integers(0, config.text_card, (1, length))),
                torch.from_numpy(rng.integers(0, config.card, (1, length, config.n_q))),
            )
            for stepper in (plain, *natives):
                stepper.reset(slot)
                stepper.prefill(*past, slot, first)
        with torch.inference_mode():
            logits, extra = plain.hear(rows, text, codes)
        for native in natives:
            got, pauses = native.hear(rows, text, codes)
            assert torch.equal(native.position, plain.position)
            assert got.shape == logits.shape
            assert extra.numel() == pauses.numel() == 0 or pauses.shape == extra.shape
            assert error(got, logits) < tolerance
            assert error(pauses, extra) < tolerance


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
def test_neither_neighbours_nor_frames_at_once_nor_threads_change_a_bit(kernels: Library, precision: Precision) -> None:
    lm = model(LM)
    for isa in kernels.isas:
        together = NativeLm(kernels, lm, 16, FRAMES, precision, threads=3, isa=isa)
        alone = NativeLm(kernels, lm, 1, FRAMES, precision, isa=isa)
        rng = np.random.default_rng(0)
        text = torch.from_numpy(rng.integers(0, 20, (16, 24)))
        codes = torch.from_numpy(rng.integers(0, 32, (16, 24, 4)))
        whole = [
            together.hear(Rows(range(16)), text[:, i : i + FRAMES], codes[:, i : i + FRAMES])[0]
            for i in range(0, 24, FRAMES)
        ]
        single = [alone.hear(Rows([0]), text[7:8, i : i + 1], codes[7:8, i : i + 1])[0] for i in range(24)]
        assert torch.equal(torch.cat(whole, 1)[7:8], torch.cat(single, 1))


def test_a_position_of_a_week_is_as_exact_as_the_first(kernels: Library) -> None:
    lm = model(LM)
    steppers = PlainLm(lm, 1, FRAMES), NativeLm(kernels, lm, 1, FRAMES)
    rng = np.random.default_rng(0)
    text, codes = torch.from_numpy(rng.integers(0, 20, (1, 30))), torch.from_numpy(rng.integers(0, 32, (1, 30, 4)))
    for stepper in steppers:
        stepper.prefill(text, codes, 0, 7_560_000)
    (theirs, _), (ours, _) = (stepper.hear(Rows([0]), text[:, :4], codes[:, :4]) for stepper in steppers)
    assert error(ours, theirs) < 1e-5


@pytest.mark.parametrize(("weights", "most"), [("float32", 0), ("bfloat16", 0.003), ("int8", 0.008), ("int4", 0.1)])
def test_the_error_of_packed_weights_is_known(kernels: Library, weights: str, most: float) -> None:
    """Normally distributed weights, read back from their lines."""
    kind, weight = Format[weights.upper()], torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    packed = pack(kernels, weight, kind)
    step = kind.step
    lines = packed.data.view(48 // 16, 128 // step, 16, -1)
    if kind is INT4:
        lines = torch.cat([lines << 4, lines & 0xF0], -1).view(torch.int8)
    read = lines.transpose(1, 2).reshape(48, 128).float()
    if packed.scales is not None and kind is INT8:
        read = (read - 128) * packed.scales[:, None]
    elif packed.scales is not None:
        scales = packed.scales.view(3, 3, 16).mT.flatten(0, 1)
        read = read * scales[:, :2].repeat_interleave(64, 1)
        torch.testing.assert_close(scales[:, 2], -128 * read.sum(1), rtol=1e-5, atol=1e-3)
    assert error(read[:40, :100], weight) <= most
    assert not read[40:].any()
    assert not read[:, 100:].any()


def in_lines(numbers: Tensor, step: int) -> Tensor:
    """[outputs, inputs] in blocks of 16 outputs, a line for each `step` inputs."""
    return numbers.unflatten(1, (-1, step)).unflatten(0, (-1, 16)).transpose(1, 2)


def ratio(numbers: Tensor, scales: Tensor) -> Tensor:
    return torch.where(scales == 0, 0, numbers / scales)


def best_scales(groups: Tensor) -> Tensor:
    """Of groups [..., 64]: the largest number over some reaches, the one with the least square error."""
    top = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    scales = torch.cat([top / -reach for reach in (8.0, 7.5, 7.0, 8.5, 9.0)], -1)[..., None, :]
    errors = ratio(groups[..., None], scales).round().clamp(-8, 7) * scales - groups[..., None]
    return scales[..., 0, :].gather(-1, errors.square().sum(-2).argmin(-1, keepdim=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "columns"), [(40, 100), (160, 256), (7, 64), (1, 3)])
def test_packed_bytes_are_those_of_the_formula(kernels: Library, rows: int, columns: int, dtype: torch.dtype) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(dtype)
    weight[0] = 0
    for kind in Format:
        packed = pack(kernels, weight, kind)
        outputs, inputs = packed.struct.outputs, packed.struct.inputs
        assert (outputs % 16, inputs % 64) == (0, 0)
        wide = nn.functional.pad(weight.float(), (0, inputs - columns, 0, outputs - rows))
        if kind is INT8:
            scales = wide.abs().amax(1, keepdim=True) / 127
            expected = in_lines((ratio(wide, scales).round() + 128).to(torch.uint8), 4)
            assert packed.scales is not None
            assert torch.equal(packed.scales, scales[:, 0])
        elif kind is INT4:
            groups = wide.unflatten(1, (-1, 64))
            scales = best_scales(groups)
            lines = in_lines(ratio(groups, scales).round().clamp(-8, 7).to(torch.int8).flatten(1), 8)
            expected = (lines[..., :4] & 15 | lines[..., 4:] << 4).view(torch.uint8)
            assert packed.scales is not None
            assert torch.equal(packed.scales.view(outputs // 16, -1, 16)[:, :-1].mT.flatten(0, 1), scales[..., 0] / 16)
        else:
            expected = in_lines(wide.to(packed.data.dtype), kind.step)
        assert torch.equal(packed.data.view(expected.shape), expected)


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (21, 0, "a text token is out"),
        (-2, 0, "a text token is out"),
        (0, 33, "a code is out"),
        (0, -2, "a code is out"),
    ],
)
def test_an_id_that_the_model_does_not_know_is_told_and_nothing_is_heard(
    kernels: Library, text: int, code: int, told: str
) -> None:
    native = NativeLm(kernels, model(LM), 2, FRAMES)
    with pytest.raises(IndexError, match=told):
        native.hear(Rows([1]), torch.tensor([[text]]), torch.full((1, 1, 4), code))
    assert native.position.tolist() == [0, 0]


def test_a_slot_or_a_frame_too_many_is_told(kernels: Library) -> None:
    native = NativeLm(kernels, model(LM), 2, FRAMES)
    with pytest.raises(IndexError, match="a slot is out"):
        native.hear(Rows([2]), torch.tensor([[0]]), torch.zeros(1, 1, 4, dtype=torch.long))
    with pytest.raises(IndexError, match="the number of frames is out"):
        native.hear(Rows([0]), torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 5, 4, dtype=torch.long))


@pytest.mark.parametrize("how", ["float32", "bfloat16", "int8"])
def test_the_embedded_model_says_the_same_in_every_precision(kernels: Library, how: str) -> None:
    """The example, token for token."""
    said = load_stt(device="cpu")
    audio = load(EXAMPLE)
    frames = audio[: len(audio) // FRAME_SIZE * FRAME_SIZE].reshape(-1, 1, FRAME_SIZE)
    told = []
    for stepper_of in (PlainLm, lambda *made: NativeLm(kernels, *made, PRECISIONS[how])):
        engine = SttEngine(said.mimi, said.lm, 1, stepper_of)
        engine.open(0)
        told.append([engine.step({0: frame})[0].token for frame in frames])
    assert len(set(told[0])) > 8
    assert told[0] == told[1]


def test_without_a_compiler_pytorch_does_it_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(library, "_folders", lambda: [tmp_path])
    library.library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert [type(fastest(model(LM), 1, 1)) for _ in range(2)] == [PlainLm] * 2
    finally:
        library.library.cache_clear()
    (record,) = caplog.records
    assert record.getMessage().endswith("PyTorch's slower ones instead: no C++ compiler (no-such-compiler)")


def test_a_compiler_that_fails_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(build.NoCompilerError, match=r"^false failed"):
        build.build(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="one instruction set is all that others have")
def test_flags_that_a_compiler_does_not_know_cost_an_instruction_set_and_what_it_cannot_compile_costs_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "old-compiler"
    refuses = 'for each; do case $each in -mavx512*|"$REFUSED") exit 1;; esac; done'
    compiler.write_text(f'#!/bin/sh\n{refuses}\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(build, "FLAGS", ["-O0", *build.FLAGS[:1], *build.FLAGS[2:]])
    monkeypatch.setenv("REFUSED", "-DISA=avx2")
    with pytest.raises(build.NoCompilerError):
        build.build(tmp_path / "none")
    monkeypatch.setenv("REFUSED", "none")
    known = Library(build.build(tmp_path / "some")).isas
    assert known and set(known) <= {"avx_vnni", "avx2", "plain"}


def test_models_that_the_kernels_do_not_know_are_stepped_by_pytorch() -> None:
    lm = Lm(LM).half()
    assert not can_step(lm)
    assert isinstance(fastest(lm, 1, 1), PlainLm)


@pytest.mark.slow
def test_nothing_is_read_or_written_out_of_bounds(kernels: Library, tmp_path: Path) -> None:
    """The kernels' own tests' shapes with the kernels under AddressSanitizer and UndefinedBehaviourSanitizer."""
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1", "-O1",
             "-DEMULATE_TILES"]  # fmt: skip
    built = build.build(tmp_path, flags)
    runtime = subprocess.run(["c++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "VIVAVOCE_TEST_KERNELS": str(built),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *map(str, sorted(Path(__file__).parent.glob("test_kernels*.py"))),
        "-k",
        "shape_gives or shape_hears or shape_says or shape_in_bf16 or of_the_formula or change_a_bit or change_a_code"
        " or no_number",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "30 passed" in done.stdout
