"""The GPU's kernels and steppers against the PyTorch path, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="the GPU's kernels are not tested: Triton, which PyPI has for Linux, is not here")

from vivavoce.core import FRAME_SIZE, UnsupportedError
from vivavoce.engine import SttEngine
from vivavoce.engine.codec import PlainEncoder
from vivavoce.engine.gpu import support
from vivavoce.engine.gpu.budget import Budget
from vivavoce.engine.gpu.codec import SlotEncoder
from vivavoce.engine.gpu.graphs import buckets
from vivavoce.engine.gpu.kernels import rows as row_kernels
from vivavoce.engine.gpu.kernels.choice import choose
from vivavoce.engine.gpu.kernels.quantiser import quantise
from vivavoce.engine.gpu.lm import PagedLm
from vivavoce.engine.gpu.memory import eight_bits
from vivavoce.engine.gpu.packed import PackedLinear, pack
from vivavoce.engine.gpu.sizes import EIGHT_BITS, page_bytes
from vivavoce.engine.stepper import PlainLm
from vivavoce.nn import sampling
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.quantizer import ResidualQuantizer
from vivavoce.nn.rows import Rows

from .conftest import lively
from .gpu import DEVICE, PAGE, TINY_LM, TINY_MIMI, graphed, tiny_models
from .likeness import error, model
from .test_laws import sound

FRAMES = 3  # of a call at most
BITES = [([1], 3), ([0, 1], 3), ([1], 3), ([0, 1, 2], 1), ([1], 3), ([1], 3)]  # which slots; how many frames


def some_calls(config: LmConfig) -> list[tuple[Rows, Tensor, Tensor]]:
    """Beyond the ring of the slots that hear most, none and start tokens among it."""
    rng = np.random.default_rng(0)
    made = []
    for slots, count in BITES:
        text = torch.from_numpy(rng.integers(-1, config.text_card + 1, (len(slots), count)))
        codes = torch.from_numpy(rng.integers(-1, config.card + 1, (len(slots), count, config.n_q)))
        made.append((Rows(slots, DEVICE), text.to(DEVICE), codes.to(DEVICE)))
    return made


def compared(lm: Lm, paged: PagedLm, calls: list[tuple[Rows, Tensor, Tensor]]) -> float:
    """The largest error of any call."""
    plain, worst = PlainLm(lm, 3, FRAMES), 0.0
    for call in calls:
        with torch.inference_mode():
            theirs, pauses = plain.hear(*call)
            ours, mine = paged.hear(*call)
        assert (ours.shape, mine.shape) == (theirs.shape, pauses.shape)
        assert torch.equal(paged.position[:3], plain.position)
        worst = max(worst, error(ours, theirs), error(mine, pauses))
    return worst


@pytest.mark.parametrize("splits", [1, 4], ids=["whole", "in parts"])
def test_the_paged_lm_gives_what_pytorch_gives(splits: int) -> None:
    """Sizes that are powers of nothing; calls of one and more frames, of one and more slots."""
    lm = model(replace(TINY_LM, dim=18, num_heads=3, hidden=10, text_card_out=37)).to(DEVICE)
    paged = PagedLm(lm, 3, FRAMES, page=PAGE)
    paged.memory._programs = splits * 3
    calls = some_calls(lm.config)
    assert compared(lm, paged, calls if splits == 1 else calls[:2]) < 1e-5
    assert splits > 1 or paged.pages._stretch.max() >= paged.pages.ring  # it went round


@pytest.mark.parametrize(
    ("memory", "most"), [(torch.int8, 0.02), (torch.float8_e4m3fn, 0.06), (torch.bfloat16, 0.01)], ids=str
)
def test_the_error_of_each_memory_is_known(memory: torch.dtype, most: float) -> None:
    lm = model(TINY_LM).to(DEVICE)
    worst = compared(lm, PagedLm(lm, 3, FRAMES, memory, page=PAGE), some_calls(lm.config)[:3])
    assert most / 20 < worst < most


@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 0.003), (torch.bfloat16, 0.02)], ids=str)
def test_sixteen_bits_give_what_pytorch_gives_in_sixteen_bits(dtype: torch.dtype, most: float) -> None:
    lm = model(TINY_LM).to(DEVICE, dtype)
    assert compared(lm, PagedLm(lm, 3, FRAMES, page=PAGE), some_calls(lm.config)[:2]) < most


def packed_and_not(lm: Lm) -> tuple[Lm, Lm]:
    """Packed, and in full precision with the same weights."""
    rounded, plain = copy.deepcopy(lm), copy.deepcopy(lm)
    pack(rounded)
    for name, part in rounded.transformer.named_modules():
        if isinstance(part, PackedLinear):
            plain.transformer.get_submodule(name).weight = torch.nn.Parameter(part.unpacked)
    return rounded, plain


@pytest.mark.parametrize(
    ("dtype", "rows"),
    [(torch.float32, 5), (torch.float32, 70), (torch.float32, 300), (torch.float16, 17), (torch.bfloat16, 3)],
    ids=str,
)
def test_a_product_of_eight_bits_is_that_of_the_weights_that_are_kept(dtype: torch.dtype, rows: int) -> None:
    """In every shape of tile, over sizes that are multiples of none; a row of zeros is one of zeros."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(300, 37, bias=False, device=DEVICE).requires_grad_(False)
    linear.weight[3] = 0
    packed, x = PackedLinear(linear), torch.randn(rows, 300, device=DEVICE).to(dtype)
    got = packed(x)
    assert (got.shape, got.dtype) == ((rows, 37), dtype)
    torch.testing.assert_close(packed.unpacked, linear.weight, atol=float(packed.scale.max()) / 2, rtol=0)
    close = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
    assert error(got.float(), x.float() @ packed.unpacked.T) < close
    assert not got[:, 3].any()


def test_an_lm_in_eight_bits_steps_and_is_restored_as_one_with_those_weights() -> None:
    """Its own, that is: weights that are packed twice are the same."""
    full = model(TINY_LM).to(DEVICE)
    packed, plain = packed_and_not(full)
    kept = [part for part in packed.modules() if isinstance(part, PackedLinear)]
    assert len(kept) == 4 * TINY_LM.num_layers
    pack(packed)
    assert kept == [part for part in packed.modules() if isinstance(part, PackedLinear)]
    ours, theirs = PagedLm(packed, 3, FRAMES, page=PAGE), PlainLm(plain, 3, FRAMES)
    calls = some_calls(plain.config)[:3]
    assert compared(plain, ours, calls) < 1e-5
    assert 1e-4 < compared(full, PagedLm(packed, 3, FRAMES, page=PAGE), calls[:1]) < 0.03
    _, text, codes = calls[0]
    with torch.inference_mode():
        for stepper in (ours, theirs):
            stepper.reset(2)
            stepper.prefill(text, codes, 2, 40)
        call = Rows([2], DEVICE), text[:, :1], codes[:, :1]
        assert error(ours.hear(*call)[0], theirs.hear(*call)[0]) < 1e-5


@pytest.mark.parametrize("memory", [None, torch.float8_e4m3fn], ids=["as the model", "fp8"])
def test_a_restored_slot_goes_on_as_pytorchs_does(memory: torch.dtype | None) -> None:
    """Longer than the context, from far on; then a stream that began anew in that slot."""
    lm = model(TINY_LM).to(DEVICE)
    plain, paged = PlainLm(lm, 2, FRAMES), PagedLm(lm, 2, FRAMES, memory, page=PAGE)
    rng = np.random.default_rng(0)
    text = torch.from_numpy(rng.integers(0, 20, (1, 9))).to(DEVICE)
    codes = torch.from_numpy(rng.integers(0, 32, (1, 9, 3))).to(DEVICE)
    with torch.inference_mode():
        for stepper in (plain, paged):
            stepper.reset(1)
            stepper.prefill(text, codes, 1, 7_560_003)
        for first in (0, 3):
            call = Rows([1], DEVICE), text[:, first : first + 2], codes[:, first : first + 2]
            assert error(paged.hear(*call)[0], plain.hear(*call)[0]) < (1e-5 if memory is None else 0.06)
        for stepper in (plain, paged):
            stepper.reset(1)
        assert error(paged.hear(*call)[0], plain.hear(*call)[0]) < (1e-5 if memory is None else 0.06)
    assert int((paged.pages.table != 0).sum()) == 1


def test_a_stream_that_lost_its_oldest_page_hears_what_is_left() -> None:
    """As one layer of a stream does that began where the rest begins."""
    lm = model(replace(TINY_LM, context=20)).to(DEVICE)
    short = PagedLm(lm, 1, 1, pages=2, page=PAGE)
    plain = PlainLm(lm, 1, 10)
    rng = np.random.default_rng(0)
    text = torch.from_numpy(rng.integers(0, 20, (1, 10))).to(DEVICE)
    codes = torch.from_numpy(rng.integers(0, 32, (1, 10, 3))).to(DEVICE)
    with torch.inference_mode():
        for i in range(10):
            ours, _ = short.hear(Rows([0], DEVICE), text[:, i : i + 1], codes[:, i : i + 1])
        plain.prefill(text[:, 4:9], codes[:, 4:9], 0, 4)
        theirs, _ = plain.hear(Rows([0], DEVICE), text[:, 9:], codes[:, 9:])
    assert int(short.memory.oldest[0]) == 4
    assert error(ours, theirs) < 1e-5


def test_the_codec_gives_what_pytorchs_gives() -> None:
    """Frames one by one and three at once, of one and of two slots, beyond the window; then a slot restored."""
    mimi, _ = tiny_models()
    plain, ours = PlainEncoder(mimi, 3, FRAMES), SlotEncoder(mimi, 3, FRAMES, page=PAGE)
    with torch.inference_mode():
        for i, (slots, count) in enumerate([([1], 1), ([0, 2], 1), ([0, 2], 3), ([0], 2), ([0, 2], 1)]):
            audio = torch.from_numpy(np.stack([np.concatenate(sound(10 * i + s, count)) for s in slots])).to(DEVICE)
            rows = Rows(slots, DEVICE)
            assert torch.equal(ours.encode(rows, audio, 3), plain.encode(rows, audio, 3))
        past = torch.from_numpy(np.concatenate(sound(3, 5)))[None].to(DEVICE)
        for codec in (plain, ours):
            codec.reset(2)
            codec.prefill(past, 2, 40)
        for rows in (Rows([2], DEVICE), Rows([1, 2], DEVICE)):
            audio = torch.from_numpy(np.stack(sound(4, len(rows.index)))).to(DEVICE)
            assert torch.equal(ours.encode(rows, audio, 2), plain.encode(rows, audio, 2))


def test_a_codec_in_another_dtype_leaves_the_models_own_as_it_is() -> None:
    mimi, _ = tiny_models()
    exact, rounded = (SlotEncoder(mimi, 1, 1, dtype, PAGE) for dtype in (None, torch.bfloat16))
    with torch.inference_mode():
        audio = torch.from_numpy(sound(0, 1)[0])[None].to(DEVICE)
        latents = [codec._latent(audio, Rows([0], DEVICE)) for codec in (exact, rounded)]
    assert latents[1].dtype == torch.bfloat16
    assert 1e-4 < error(latents[1].float(), latents[0]) < 0.05
    assert mimi.downsample.weight.dtype == torch.float32


@pytest.mark.parametrize(("entries", "bins"), [(16, 40), (128, 40)], ids=["in parts", "at once"])
def test_the_quantiser_chooses_what_pytorch_chooses(entries: int, bins: int) -> None:
    """More rows than a tile has, into the later columns of a wider tensor."""
    torch.manual_seed(0)
    chain = ResidualQuantizer(8, 3, bins, 20).requires_grad_(False)
    chain.codebooks.normal_()
    residual, codes = torch.randn(19, 20), torch.zeros(19, 4, dtype=torch.long)
    expected = chain.encode_projected(residual, 3)
    books, biases = chain.codebooks.to(DEVICE), (chain.codebooks.square().sum(-1) * -0.5).to(DEVICE)
    codes = codes.to(DEVICE)
    quantise(residual.to(DEVICE), books, biases, codes[:, 1:], "tf32x3", entries)
    assert torch.equal(codes.cpu()[:, 1:], expected)
    assert not codes[:, 0].any()


def test_the_quantiser_of_nonsense_gives_codes_that_exist() -> None:
    codes = torch.full((1, 2), -1, device=DEVICE)
    books, biases = torch.randn(2, 20, 4, device=DEVICE), torch.randn(2, 20, device=DEVICE)
    quantise(torch.full((1, 4), torch.nan, device=DEVICE), books, biases, codes, "tf32x3")
    assert ((codes >= 0) & (codes < 20)).all()


def test_tokens_are_chosen_as_pytorch_chooses_them() -> None:
    """Greedy and sampled rows side by side, over more logits than are looked at at once; of equal ones the first."""
    torch.manual_seed(0)
    logits = torch.randn(4, 1100) * 3
    logits[1, 7] = logits[1, 1050] = 20
    temperature = torch.tensor([0.0, 0.0, 0.7, 1.3])
    seed, step = torch.tensor([1, 2, 2**40 + 5, 7]), torch.tensor([0, 5, 123_456, 7_560_000])
    expected = sampling.choose(logits[:, :1090], sampling.Draws(temperature, seed, step))
    nothing = torch.zeros(1, 1090), torch.full((4,), -1, dtype=torch.int32), torch.zeros(1090, dtype=torch.int8)
    given_them = (part.to(DEVICE) for part in (temperature, seed, step, *nothing))
    token, logprob = choose(logits.to(DEVICE), 1090, *given_them)
    assert token.tolist() == expected[0].tolist()
    assert token[1] == 7
    torch.testing.assert_close(logprob.cpu(), expected[1])


def test_tokens_that_are_wanted_are_chosen_as_pytorch_chooses_them() -> None:
    """Rows with a bonus and without, greedy and sampled, of which the choice is of either kind, or of none."""
    torch.manual_seed(1)
    logits, bonus = torch.randn(24, 1100) * 2, torch.rand(3, 1090) * 6
    kinds = torch.randint(0, 3, (1090,), dtype=torch.int8)
    temperature = torch.tensor([0.0, 0.8]).repeat_interleave(12)
    seed, step = torch.arange(24), torch.arange(24) * 1000
    row = torch.tensor([-1, 0, 1, 2], dtype=torch.int32).repeat(6)
    has = (row >= 0).nonzero()[:, 0]
    wanted = sampling.Wanted(has, bonus[row[has]], kinds)
    expected = sampling.choose(logits[:, :1090], sampling.Draws(temperature, seed, step), wanted)
    without, _ = sampling.choose(logits[:, :1090], sampling.Draws(temperature, seed, step))
    assert {int(kinds[token]) for token in without[has]} == {0, 1, 2}
    given_them = (part.to(DEVICE) for part in (temperature, seed, step, bonus, row, kinds))
    token, logprob = choose(logits.to(DEVICE), 1090, *given_them)
    assert token.tolist() == expected[0].tolist() != without.tolist()
    torch.testing.assert_close(logprob.cpu(), expected[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_what_rows_do_alone_is_what_pytorch_does(dtype: torch.dtype) -> None:
    """A norm of a sum that is kept, the gate, and embeddings of which some are none."""
    lm = model(TINY_LM).to(DEVICE, dtype)
    x, delta = (torch.randn(3, 12, device=DEVICE).to(dtype) for _ in range(2))
    total = x + delta
    given_x = x.clone()
    close = {"rtol": 2 * torch.finfo(dtype).eps, "atol": 2 * torch.finfo(dtype).eps}
    torch.testing.assert_close(row_kernels.norm(given_x, delta, lm.norm.alpha), lm.norm(total), **close)
    torch.testing.assert_close(given_x, total, **close)  # the interpreter cuts bf16 off where a GPU rounds it
    torch.testing.assert_close(row_kernels.norm(x, None, lm.norm.alpha), lm.norm(x), **close)
    gate, up = x.chunk(2, -1)
    wanted = (torch.nn.functional.silu(gate.float()) * up.float()).to(dtype)
    torch.testing.assert_close(row_kernels.gate(x), wanted, **close)
    text, codes = torch.tensor([-1, 3, 20], device=DEVICE), torch.tensor([[0, -1, 32]] * 3, device=DEVICE)
    config = lm.config
    sums = row_kernels.embed(text, codes, lm.embeddings, config.text_card + 1, config.card + 1)
    torch.testing.assert_close(sums, lm.embed(text[:, None], codes[:, None])[:, 0], **close)


@pytest.mark.parametrize("dtype", EIGHT_BITS, ids=str)
def test_eight_bits_keep_a_head_as_well_as_they_can(dtype: torch.dtype) -> None:
    numbers = torch.cat([torch.randn(4, 64) * 100, torch.zeros(1, 64)])
    kept, scale = eight_bits(numbers, dtype)
    restored = kept.float() * scale[:, None]
    assert error(restored, numbers) < (0.01 if dtype == torch.int8 else 0.03)
    assert not restored[-1].any()


def test_batches_come_in_few_sizes() -> None:
    assert buckets(1) == [1]
    assert buckets(5) == [1, 2, 3, 4, 6]
    assert buckets(64) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    assert len(buckets(2048)) == 22


def test_rows_that_pad_a_batch_hear_nothing_and_change_nobody() -> None:
    """Five streams are stepped as six: nobody's keys are not read, and no page but nobody's is written."""
    models = tiny_models()
    engine, exact = graphed(models, 5), graphed(models, 6)
    for slot in range(5):
        engine.open(slot)
        exact.open(slot)
    for i in range(2):
        frames = dict(enumerate(sound(i, 5)))
        assert engine.step(frames) == exact.step(frames)
    assert int(engine.paged.memory.position[5]) == 2 * (DEVICE.type == "cpu") or DEVICE.type == "cuda"
    assert int((engine.paged.pages.table != 0).sum()) == 5


def test_two_steps_may_be_on_their_way() -> None:
    """Of a model that hears no pauses, as the 2.6B one."""
    models = lively(TINY_MIMI, replace(TINY_LM, extra_heads=0))
    models = models[0].to(DEVICE), models[1].to(DEVICE)
    engine, plain = graphed(models, 2), SttEngine(*models, 2, PlainLm, PlainEncoder)
    for slot in range(2):
        engine.open(slot)
        plain.open(slot)
    batches = [{0: sound(0, 1)[0], 1: sound(1, 1)[0]}, {1: sound(2, 1)[0]}, {0: sound(3, 1)[0]}]
    first = engine.begin(batches[0])
    second = engine.begin(batches[1])
    told = [first.outputs().each()]
    third = engine.begin(batches[2])
    told += [second.outputs().each(), third.outputs().each()]
    for ours, theirs in zip(told, map(plain.step, batches), strict=True):
        assert {s: (o.token, o.codes, o.vad) for s, o in ours.items()} == {
            s: (o.token, o.codes, ()) for s, o in theirs.items()
        }


def test_a_stream_for_which_there_is_no_memory_is_told_as_one_without_a_slot() -> None:
    """By the engine's process to the server's; the streams that run go on."""
    from vivavoce.runtime.hearing import Hearing
    from vivavoce.runtime.messages import Close, Lost, Open, Opened

    class Link:
        told: ClassVar[list[Any]] = []

        def send(self, messages: list[Any]) -> None:
            self.told += messages

    hearing = Hearing(graphed(tiny_models(), 3, pages=9), Link(), [])  # type: ignore[arg-type]
    for message in (Open(7, 0, 0.0, 0), Open(8, 1, 0.0, 0), Close(7), Open(9, 0, 0.0, 0)):
        hearing.obey(message, np.zeros((0, FRAME_SIZE), np.float32))
    first, refused, second = Link.told
    assert (type(first), type(second)) == (Opened, Opened)
    assert isinstance(refused, Lost)
    assert (refused.stream, refused.fault) == (8, "CAPACITY")
    assert refused.reason.startswith("the memory of one more stream takes 5 pages")


def test_memory_that_is_too_small_for_all_slots_is_used_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the model's dtype where that has room for all, in 8 bits where it has not, in fewer pages if it must be."""
    monkeypatch.setattr("vivavoce.engine.gpu.budget.eight_bit", lambda _: torch.int8)
    mimi, lm = tiny_models()
    gigabyte = 1 << 30

    def budget(free: int, slots: int = 1000) -> Budget:
        return Budget.of(mimi, lm, slots, 16, None, None, PAGE, free)

    assert budget(2 * gigabyte) == Budget(torch.float32, 6000)
    room = int((gigabyte + 4_500_000) / 0.97)
    assert budget(room).memory == torch.int8
    assert 6 < budget(room).pages < 6000
    with pytest.raises(UnsupportedError, match=r"1000 slots need .* GiB more than"):
        budget(gigabyte)
    assert page_bytes(lm.transformer.config, torch.float32, PAGE) == 2 * 2 * PAGE * 6 * 4


def test_a_model_on_the_cpu_has_the_cpus_engine() -> None:
    mimi, lm = (network.cpu() for network in tiny_models())
    assert type(SttEngine.fastest(mimi, lm, 1)) is SttEngine


def test_a_gpu_without_what_it_takes_is_stepped_by_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    _, lm = tiny_models()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (6, 1))
    assert support.reason_against(lm) == "compute capability 6.1 is older than 7.0"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (7, 5))
    assert support.reason_against(lm) is None
    assert support.eight_bit(DEVICE) == torch.int8
    assert support.reason_against_packing(lm, "int8") == "compute capability 7.5 is older than 8.0"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (8, 9))
    assert support.reason_against_packing(lm, "int8") is None
    assert support.reason_against_packing(lm, "int4") == "their kernels are for int8"
    assert support.eight_bit(DEVICE) == torch.float8_e4m3fn
    assert support.reason_against(Lm(replace(TINY_LM, cross_attention=True))) == "the model speaks"
    monkeypatch.setattr(support, "find_spec", lambda _: None)
    assert support.reason_against(lm) == "Triton is not installed"


@pytest.mark.parametrize(
    "capability", [90, *(pytest.param(old, marks=pytest.mark.slow) for old in (75, 80, 89))], ids=str
)
def test_every_kernel_compiles_for_gpus_that_are_not_here(capability: int) -> None:
    """At the sizes of the 1B model, without spilling a register."""
    command = [sys.executable, "-m", "tests.engine.gpu_compiler", str(capability)]
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    kernels = [line.split() for line in done.stdout.splitlines()]
    products = {"_product"} if capability >= 80 else set[str]()
    assert {name for name, *_ in kernels} - products == {
        "_attend", "_choose", "_embed", "_gate", "_join", "_last", "_nearest", "_norm", "_rotate_and_keep",
    }  # fmt: skip
    assert all(int(spilled) <= (0 if capability == 90 else 16) for *_, spilled, _ in kernels)
