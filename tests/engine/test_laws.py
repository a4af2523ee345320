"""The laws of the engine, as properties (docs/architecture.md, "Contracts")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vivavoce.engine import StepOutput, SttEngine
from vivavoce.engine.terms import Term
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi

from .conftest import TERMS

TOGETHER = SttEngine.TOGETHER
Frames = list[NDArray[np.float32]]
EngineOf = Callable[[int], SttEngine]
laws = settings(max_examples=25, deadline=None, derandomize=True)


def sound(seed: int, frames: int, frame_size: int = 12) -> Frames:
    return list(np.random.default_rng(seed).standard_normal((frames, frame_size)).astype(np.float32))


def alone(engine_of: EngineOf, frames: Frames, slot: int = 0, slots: int = 1, **how: Any) -> list[StepOutput]:
    engine = engine_of(slots)
    engine.open(slot, **how)
    return [engine.step({slot: frame})[slot] for frame in frames]


def told(outputs: Sequence[StepOutput]) -> list[tuple[int, tuple[int, ...]]]:
    return [(o.token, o.codes) for o in outputs]


def test_tokens_and_codes_of_the_test_model_vary(engine_of: EngineOf) -> None:
    outputs = alone(engine_of, sound(0, 40))
    assert len({o.token for o in outputs}) > 5
    assert all(len({o.codes[q] for o in outputs}) > 5 for q in range(4))


some_slots = st.sets(st.integers(0, 4))
some_terms = st.sampled_from([(), TERMS])


@given(
    mine=st.integers(0, 4),
    ticks=st.lists(st.tuples(some_slots, some_slots), min_size=1, max_size=30),
    temperature=st.sampled_from([0.0, 0.9]),
    terms=some_terms,
)
@laws
def test_a_stream_depends_neither_on_neighbours_nor_on_its_slot_nor_on_pauses(
    engine_of: EngineOf, mine: int, ticks: list[tuple[set[int], set[int]]], temperature: float, terms: tuple[Term, ...]
) -> None:
    """Five slots that open or close (first set) and pause (not in the second) at will around one stream.

    With key terms, where it has none, and the other way round.
    """
    frames = sound(1, len(ticks))
    engine = engine_of(5)
    engine.open(mine, temperature=temperature, seed=77, terms=terms)
    others = () if terms else TERMS
    outputs: list[StepOutput] = []
    opened = {mine}
    for toggled, active in ticks:
        for slot in toggled - {mine}:
            _ = engine.close(slot) if slot in opened else engine.open(slot, terms=others)
        opened ^= toggled - {mine}
        batch = {slot: frames[len(outputs)] if slot == mine else sound(slot, 1)[0] for slot in active & opened}
        result = engine.step(batch)
        outputs += [result[mine]] if mine in active else []
    expected = alone(engine_of, frames[: len(outputs)], temperature=temperature, seed=77, terms=terms)
    assert told(outputs) == told(expected)
    assert [o.logprob for o in outputs] == pytest.approx([o.logprob for o in expected], abs=1e-4)
    assert [x for o in outputs for x in o.vad] == pytest.approx([x for o in expected for x in o.vad], abs=1e-4)


@given(before=st.integers(0, 40), steps=st.integers(1, 15))
@laws
def test_a_used_slot_that_is_opened_again_equals_a_fresh_engine_bit_for_bit(
    engine_of: EngineOf, before: int, steps: int
) -> None:
    engine = engine_of(2)
    engine.open(1)
    for frame in sound(5, before):
        engine.step({1: frame})
    engine.close(1)
    engine.open(1)
    again = [engine.step({1: frame})[1] for frame in sound(6, steps)]
    assert again == alone(engine_of, sound(6, steps), slot=1, slots=2)


@given(
    poison=st.sampled_from([np.nan, np.inf, -np.inf, 1e38, -3e38]),
    places=st.sets(st.integers(0, 11), min_size=1),
    at=st.integers(0, 9),
)
@laws
def test_nan_and_infinity_change_no_neighbour_and_not_the_next_user_of_the_slot(
    engine_of: EngineOf, poison: float, places: set[int], at: int
) -> None:
    engine = engine_of(3)
    for slot in range(3):
        engine.open(slot)
    neighbour = []
    for i, frame in enumerate(sound(7, 10)):
        bad = sound(8 + i, 1)[0]
        if i == at:
            bad[list(places)] = poison
        result = engine.step({0: frame, 1: bad, 2: frame})
        assert result[0] == result[2]
        assert np.isfinite([result[1].logprob, *result[1].vad]).all()
        neighbour.append(result[0])
    assert told(neighbour) == told(alone(engine_of, sound(7, 10)))
    engine.close(1)
    engine.open(1)
    after = [engine.step({1: frame})[1] for frame in sound(9, 8)]
    assert after == alone(engine_of, sound(9, 8), slot=1, slots=3)


@given(active=st.sets(st.integers(0, 31), min_size=1, max_size=32))
@laws
def test_the_arithmetic_of_a_step_follows_the_active_streams_and_not_the_slots(
    engine_of: EngineOf, active: set[int]
) -> None:
    """Counted, not timed: multiply-adds of one step are those of an engine that has just these slots."""
    wide, narrow = engine_of(32), engine_of(len(active))
    assert _flops(wide, sorted(active)) == _flops(narrow, list(range(len(active))))


def _flops(engine: SttEngine, slots: list[int]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    for slot in slots:
        engine.open(slot)
    with FlopCounterMode(display=False) as counter:
        engine.step(dict(zip(slots, sound(2, len(slots)), strict=True)))
    return int(counter.get_total_flops())


@given(steps=st.integers(1, 30))
@laws
def test_streaming_equals_the_offline_pass_of_the_same_model(
    exact_engine_of: EngineOf, models: tuple[Mimi, Lm], steps: int
) -> None:
    """Also far beyond both context windows (10 codec positions, 7 LM positions)."""
    mimi, lm = models
    frames = sound(11, steps)
    outputs = alone(exact_engine_of, frames)
    with torch.inference_mode():
        codes = mimi.encode(torch.from_numpy(np.concatenate(frames))[None], codebooks=lm.config.n_q)
        assert [o.codes for o in outputs] == [tuple(c) for c in codes[0].tolist()]
        text, start = lm.start(1)
        logits, _ = lm(text, start)
        fed = torch.tensor([[lm.config.text_card, int(logits.argmax()), *(o.token for o in outputs[:-1])]])
        logits, extra = lm(fed, torch.cat([start, codes], 1))
    assert [o.token for o in outputs] == logits[0, 1:].argmax(-1).tolist()
    pauses = extra[0, 1:].softmax(-1)[..., 0]
    assert [x for o in outputs for x in o.vad] == pytest.approx(pauses.flatten().tolist(), abs=1e-5)


@given(
    mine=st.integers(0, 3),
    bites=st.lists(st.tuples(st.integers(1, TOGETHER), st.sets(st.integers(0, 3)), st.booleans()), max_size=8),
    temperature=st.sampled_from([0.0, 0.9]),
    terms=some_terms,
)
@laws
def test_catching_up_gives_what_as_many_steps_give(
    engine_of: EngineOf,
    mine: int,
    bites: list[tuple[int, set[int], bool]],
    temperature: float,
    terms: tuple[Term, ...],
) -> None:
    """In bites of any size, beside neighbours that take part or do not, with steps between, beyond both windows."""
    engine = engine_of(4)
    for slot in range(4):
        own = slot == mine
        engine.open(slot, temperature=temperature, seed=3 if own else slot, terms=terms if own else TERMS[slot:])
    frames = sound(14, sum(size + stepped for size, _, stepped in bites))
    outputs: list[StepOutput] = []
    for size, others, stepped in bites:
        bite = {slot: np.stack(sound(slot, size)) for slot in others}
        outputs += engine.catch_up(bite | {mine: np.stack(frames[len(outputs) :][:size])})[mine]
        if stepped:
            outputs.append(engine.step({slot: frames[len(outputs)] for slot in others | {mine}})[mine])
    expected = alone(engine_of, frames, temperature=temperature, seed=3, terms=terms)
    assert told(outputs) == told(expected)
    assert [o.logprob for o in outputs] == pytest.approx([o.logprob for o in expected], abs=1e-4)
    assert [x for o in outputs for x in o.vad] == pytest.approx([x for o in expected for x in o.vad], abs=1e-4)


def test_catching_up_through_silence_takes_few_passes(embedded: SttEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: where nothing is said, the first guess is right."""
    embedded.open(0)
    passes = 0
    hear = embedded._memory.hear

    def counted(*args: Any) -> Any:
        nonlocal passes
        passes += 1
        return hear(*args)

    monkeypatch.setattr(embedded._memory, "hear", counted)
    silence = np.zeros((TOGETHER, embedded.mimi.config.frame_size), np.float32)
    assert len(embedded.catch_up({0: silence})[0]) == TOGETHER
    assert passes <= 2
    embedded.close(0)


def test_a_sampled_stream_is_repeated_by_its_seed_and_changed_by_another(engine_of: EngineOf) -> None:
    frames = sound(12, 30)
    first = alone(engine_of, frames, temperature=1.0, seed=5)
    assert first == alone(engine_of, frames, temperature=1.0, seed=5)
    assert told(first) != told(alone(engine_of, frames, temperature=1.0, seed=6))
    assert told(first) != told(alone(engine_of, frames))


def test_stepping_a_slot_that_is_not_open_is_a_fault_of_the_caller(engine_of: EngineOf) -> None:
    engine = engine_of(2)
    engine.open(0)
    with pytest.raises(AssertionError, match=r"slots \[1\] are not open"):
        engine.step({1: sound(1, 1)[0]})


def test_an_empty_step_does_nothing(engine_of: EngineOf) -> None:
    assert engine_of(1).step({}) == {}
