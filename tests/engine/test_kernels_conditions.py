"""The native step of a conditioned LM with two texts in one id, against the PyTorch path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.lm import NativeLm, Precision
from vivavoce.engine.kernels.packing import Format
from vivavoce.nn.conditions import Fused
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.rows import Rows

from .likeness import error, model
from .test_kernels import ERRORS, FRAMES, USUAL, shapes

F32 = Precision(Format.FLOAT32, Format.FLOAT32)


def conditions(config: LmConfig, length: int, seed: int) -> Fused:
    drawn = torch.Generator().manual_seed(seed)
    source = torch.randn(1, length, config.dim, generator=drawn) if config.cross_attention else None
    return Fused(torch.randn(1, 1, config.dim, generator=drawn) * 0.5 if seed % 3 else None, source)


def heard(lm: Lm, config: LmConfig, length: int, natives: list[NativeLm], slots: int, calls: int, seed: int) -> float:
    """The largest error of what natives hear beside PyTorch, over calls in which slots are conditioned anew."""
    rng, worst = np.random.default_rng(seed), 0.0
    state, added = lm.state(slots, FRAMES, source=length), torch.zeros(slots, 1, config.dim)
    ids = (config.text_card + 1) * (config.text_card + 2 if config.demux else 1)
    for call in range(calls):
        for slot in range(slots) if call == 0 else rng.permutation(slots)[: rng.integers(0, 2)].tolist():
            fused = conditions(config, length, int(rng.integers(100)))
            state.reset(slot)
            added[slot] = 0 if fused.added is None else fused.added[0]
            if fused.source is not None:
                lm.transformer.attend(fused.source, state, slot)
            for native in natives:
                native.reset(slot)
                native.condition(slot, fused)
        rows = Rows(sorted(rng.permutation(slots)[: rng.integers(1, slots + 1)].tolist()))
        shape = len(rows.index), int(rng.integers(1, FRAMES + 1))
        text = torch.from_numpy(rng.integers(-1, ids, shape))
        codes = torch.from_numpy(rng.integers(-1, config.card + 1, (*shape, config.n_q)))
        hidden = lm.hear(lm.embed(text, codes) + rows.read(added), state, rows)
        for native in natives:
            got, logits = native.listen(rows, text, codes)
            worst = max(worst, error(got, hidden), error(logits, lm.text_head(hidden)))
    return worst


@pytest.mark.parametrize("precision", ERRORS, ids=lambda p: f"{p.weights.name}-{p.memory.name}")
@torch.inference_mode()
def test_the_error_of_a_conditioned_step_is_known_in_every_precision(kernels: Library, precision: Precision) -> None:
    config = replace(USUAL, demux=True, cross_attention=True, extra_heads=0)
    lm = model(config)
    natives = [NativeLm(kernels, lm, 3, FRAMES, precision, isa=isa, source=37) for isa in kernels.isas]
    assert heard(lm, config, 37, natives, 3, 25, 1) < 1.5 * ERRORS[precision]


@given(
    config=shapes(),
    precision=st.sampled_from(list(ERRORS)),
    slots=st.integers(1, 5),
    length=st.integers(1, 40),
    seed=st.integers(0, 9),
    demux=st.booleans(),
    cross=st.booleans(),
)
@settings(max_examples=25, deadline=None, derandomize=True)
@torch.inference_mode()
def test_any_conditioned_shape_hears_what_pytorch_hears_on_every_instruction_set(
    kernels: Library,
    config: LmConfig,
    precision: Precision,
    slots: int,
    length: int,
    seed: int,
    demux: bool,
    cross: bool,
) -> None:
    config = replace(config, demux=demux, cross_attention=cross)
    length = length if cross else 0
    lm = model(config, seed)
    natives = [NativeLm(kernels, lm, slots, FRAMES, precision, isa=isa, source=length) for isa in kernels.isas]
    assert heard(lm, config, length, natives, slots, 6, seed) < (1e-4 if precision == F32 else 1.0)


def test_a_pair_of_texts_that_the_model_does_not_know_is_told(kernels: Library) -> None:
    native = NativeLm(kernels, model(replace(USUAL, demux=True)), 1, FRAMES)
    native.listen(Rows([0]), torch.tensor([[41 * 42 - 1]]), torch.zeros(1, 1, 4, dtype=torch.long))
    with pytest.raises(IndexError, match="a text token is out"):
        native.listen(Rows([0]), torch.tensor([[41 * 42]]), torch.zeros(1, 1, 4, dtype=torch.long))
