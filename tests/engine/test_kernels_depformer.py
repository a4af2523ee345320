"""The native depformer and its draws against the PyTorch path: every instruction set, every format, any shape."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vivavoce.checkpoints import load_tts
from vivavoce.engine import TtsEngine, TtsOptions
from vivavoce.engine.kernels.depformer import NativeDepformer
from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.packing import Format
from vivavoce.engine.tts_stepper import PlainTts, fastest_tts
from vivavoce.nn.depformer import DepformerConfig
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.sampling import Choice, Sampling, keys

from .conftest import LM
from .likeness import model

SPOKEN = LmConfig(
    **{
        **LM.__dict__,
        "demux": True,
        "delays": (0, 1, 1, 1),
        "extra_heads": 0,
        "depformer": DepformerConfig(48, 3, 2, 40, (0, 1, 1, 2), rank=5),
    }
)


def speaker(config: LmConfig, seed: int = 0) -> Lm:
    """Weights with which codes vary and lie well apart."""
    lm = model(config, seed)
    assert lm.depformer is not None
    for name, weight in lm.depformer.named_parameters():
        if weight.ndim >= 2:
            nn.init.normal_(weight, std=(4.0 if name == "heads" else 1.5) * weight.shape[-1] ** -0.5)
    return lm


@st.composite
def speaking(draw: st.DrawFn) -> LmConfig:
    """Sizes that are multiples of nothing but what the model asks for."""
    heads, codebooks = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    schedule = sorted(draw(st.lists(st.integers(0, 3), min_size=codebooks, max_size=codebooks)))
    config = DepformerConfig(
        dim=heads * draw(st.integers(1, 40)),
        num_heads=heads,
        num_layers=draw(st.integers(1, 3)),
        hidden=draw(st.integers(1, 100)),
        schedule=tuple(schedule),
        rank=draw(st.sampled_from([0, 1, 7])),
    )
    return replace(
        SPOKEN,
        dim=2 * draw(st.integers(1, 50)),
        num_heads=1,
        card=draw(st.integers(1, 300)),
        text_card=draw(st.integers(1, 30)),
        n_q=codebooks,
        delays=(0,) * codebooks,
        demux=draw(st.booleans()),
        depformer=config,
    )


def some_choice(batch: int, codebooks: int, seed: int, how: str = "any", guided: bool = True) -> Choice:
    """Every stream in a way of its own; some of them guided."""
    drawn = torch.Generator().manual_seed(seed)

    def some(*values: float) -> list[float]:
        return [values[i] for i in torch.randint(len(values), (batch,), generator=drawn).tolist()]

    temperature = [0.0] * batch if how == "greedy" else some(0.0, 0.3, 0.6, 1.0, 5.0)
    sampling = Sampling.of(
        temperature, [int(k) for k in some(0, 1, 5, 40, 250)], some(0.0, 0.0, 0.3, 0.9), torch.device("cpu")
    )
    seeds = torch.randint(-(2**62), 2**62, (batch,), generator=drawn)
    second = tuple(i for i in range(batch) if guided and (seed + i) % 3 == 0)
    strength = torch.rand(len(second), generator=drawn) * 3
    return Choice(sampling, keys(seeds, torch.arange(batch) + seed, 1 + codebooks), second, strength)


def said(lm: Lm, natives: list[NativeDepformer], choice: Choice, codebooks: int, seed: int) -> list[Tensor]:
    """Codes of PyTorch and of each native one."""
    batch, drawn = len(choice.keys), torch.Generator().manual_seed(seed)
    ids = (lm.config.text_card + 1) * (lm.config.text_card + 2 if lm.config.demux else 1)
    hidden = torch.randn(batch + len(choice.guided), lm.config.dim, generator=drawn)
    text = torch.randint(-1, ids, (batch,), generator=drawn)
    with torch.inference_mode():
        plain = PlainTts(lm, codebooks, 1, 0).speak(hidden, text, choice)
    return [plain, *(native.speak(hidden, text, choice) for native in natives)]


def on_every_set(kernels: Library, lm: Lm, codebooks: int, rows: int, format: Format) -> list[NativeDepformer]:
    assert lm.depformer is not None
    return [NativeDepformer(kernels, lm.depformer, codebooks, rows, format, isa=isa) for isa in kernels.isas]


@given(
    config=speaking(),
    batch=st.integers(1, 7),
    fewer=st.integers(0, 3),
    seed=st.integers(0, 99),
    how=st.sampled_from(["greedy", "any"]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_shape_says_what_pytorch_says_on_every_instruction_set(
    kernels: Library, config: LmConfig, batch: int, fewer: int, seed: int, how: str
) -> None:
    """However each stream draws, and whichever are guided."""
    lm, codebooks = speaker(config, seed), max(1, config.n_q - fewer)
    choice = some_choice(batch, codebooks, seed, how)
    expected, *others = said(
        lm, on_every_set(kernels, lm, codebooks, 2 * batch, Format.FLOAT32), choice, codebooks, seed
    )
    for codes in others:
        assert torch.equal(codes, expected)


@pytest.mark.parametrize("how", ["greedy", "any"])
def test_thousands_of_draws_are_pytorchs(kernels: Library, how: str) -> None:
    lm = speaker(replace(SPOKEN, card=2048))
    natives = on_every_set(kernels, lm, 4, 100, Format.FLOAT32)
    for seed in range(10):
        expected, *others = said(lm, natives, some_choice(64, 4, seed, how), 4, seed)
        assert len(expected.unique()) > 100
        assert all(torch.equal(codes, expected) for codes in others)


@pytest.mark.parametrize(("format", "same"), [(Format.BFLOAT16, 0.95), (Format.INT8, 0.9), (Format.INT4, 0.4)])
def test_rounded_weights_mostly_say_the_same(kernels: Library, format: Format, same: float) -> None:
    """Of the first codebook, before a code that differs leads others astray."""
    lm = speaker(SPOKEN)
    for seed in range(3):
        choice = some_choice(40, 4, seed, "greedy")
        expected, *others = said(lm, on_every_set(kernels, lm, 4, 80, format), choice, 4, seed)
        for codes in others:
            assert float((codes[:, 0] == expected[:, 0]).float().mean()) >= same
            assert len(codes[:, 3].unique()) > 8


@pytest.mark.parametrize("format", Format)
def test_neither_neighbours_nor_threads_change_a_code(kernels: Library, format: Format) -> None:
    lm, choice = speaker(SPOKEN), some_choice(16, 4, 1, guided=False)
    assert lm.depformer is not None
    hidden, text = torch.randn(16, 24), torch.randint(0, 400, (16,))
    for isa in kernels.isas:
        together = NativeDepformer(kernels, lm.depformer, 4, 16, format, threads=3, isa=isa).speak(hidden, text, choice)
        alone = NativeDepformer(kernels, lm.depformer, 4, 1, format, isa=isa)
        for i in range(16):
            sampling = choice.sampling
            own = Sampling(sampling.temperature[i:][:1], sampling.last[i:][:1], sampling.top_p[i:][:1], (), False, 0)
            assert torch.equal(
                alone.speak(hidden[i:][:1], text[i:][:1], Choice(own, choice.keys[i:][:1])), together[i:][:1]
            )


def test_what_is_no_number_is_answered_with_codes_and_changes_no_neighbour(kernels: Library) -> None:
    lm, choice = speaker(SPOKEN), some_choice(3, 4, 5, guided=False)
    hidden, text = torch.randn(3, 24), torch.tensor([1, 2, 3])
    for native in on_every_set(kernels, lm, 4, 3, Format.FLOAT32):
        expected = native.speak(hidden, text, choice)
        bad = hidden.clone()
        bad[1, 3] = torch.nan
        codes = native.speak(bad, text, choice)
        assert torch.equal(codes[::2], expected[::2])
        assert ((codes >= 0) & (codes < 32)).all()
        assert torch.equal(native.speak(hidden, text, choice), expected)


@pytest.mark.parametrize(
    ("rows", "text", "told"),
    [(1, 21 * 22, "a text token is out"), (1, -2, "a text token"), (3, 0, "the number of rows")],
)
def test_what_the_model_does_not_know_is_told(kernels: Library, rows: int, text: int, told: str) -> None:
    lm = speaker(SPOKEN)
    assert lm.depformer is not None
    native = NativeDepformer(kernels, lm.depformer, 4, 2, Format.FLOAT32)
    choice = some_choice(rows, 4, 0, guided=False)
    with pytest.raises(IndexError, match=told):
        native.speak(torch.zeros(rows, 24), torch.full((rows,), text), choice)


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_the_embedded_voice_says_the_same_on_either_path(kernels: Library, temperature: float) -> None:
    """Code for code, whatever it is given to read."""
    voice, said = load_tts(device="cpu"), []
    for stepper_of in (PlainTts, fastest_tts):
        engine = TtsEngine(voice, 1, stepper_of)
        engine.open(0, TtsOptions(temperature=temperature, temperature_text=temperature, seed=3))
        said.append([engine.step({0: lambda _, step=step: 3 + step % 7 % 4})[0].codes for step in range(50)])
    assert len(set(said[0])) > 20
    assert said[0] == said[1]


def test_a_model_that_the_kernels_do_not_know_is_spoken_by_pytorch() -> None:
    assert isinstance(fastest_tts(Lm(SPOKEN).half(), 4, 1, 0), PlainTts)
