"""The laws of the text-to-speech engine, as properties (docs/architecture.md, "Contracts")."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.checkpoints import TtsModel
from vivavoce.engine import TtsEngine, TtsHistory, TtsOptions
from vivavoce.engine.codec import PlainDecoder
from vivavoce.engine.tts_stepper import PlainTts
from vivavoce.nn.delays import unskew
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi

from .conftest import decoder_of
from .speakers import GREEDY, EngineOf, acts, alone, options_of, sound, speakers, stepper_of, talk, told

laws = settings(max_examples=12, deadline=None, derandomize=True)
kinds = st.sampled_from(["voices", "prefixes"])
numbers = st.integers(0, 5)


@pytest.fixture(scope="module")
def made(models: tuple[Mimi, Lm]) -> dict[str, TtsModel]:
    return speakers(models[0])


@pytest.fixture(scope="module", params=["pytorch", "float32", "int8", "int4"])
def engine_of(request: pytest.FixtureRequest) -> EngineOf:
    """A new engine, stepped in some of the ways there are; the kernels' own tests go through all."""
    return lambda model, slots: TtsEngine(
        model, slots, stepper_of(request.param, request), decoder_of(request.param, request)
    )


@pytest.fixture(scope="module", params=["pytorch", "float32"])
def exact_engine_of(request: pytest.FixtureRequest) -> EngineOf:
    return lambda model, slots: TtsEngine(
        model, slots, stepper_of(request.param, request), decoder_of(request.param, request)
    )


@pytest.fixture(scope="module")
def counted_engine_of() -> EngineOf:
    """In PyTorch, which counts its multiply-adds."""
    return lambda model, slots: TtsEngine(model, slots, PlainTts, PlainDecoder)


@pytest.mark.parametrize("kind", ["voices", "prefixes"])
def test_what_the_test_models_say_varies(made: dict[str, TtsModel], engine_of: EngineOf, kind: str) -> None:
    outputs = alone(engine_of, made[kind], options_of(kind, **GREEDY), 60)
    assert len({o.sampled for o in outputs}) > 5
    assert all(len({o.codes[q] for o in outputs}) > 5 for q in range(4))
    assert [o.audio is None for o in outputs] == [True] * 5 + [False] * 55


some_slots = st.sets(st.integers(0, 4))


@given(
    kind=kinds,
    mine=st.integers(0, 4),
    number=numbers,
    ticks=st.lists(st.tuples(some_slots, some_slots), min_size=1, max_size=25),
    temperature=st.sampled_from([0.0, 0.9]),
)
@laws
def test_a_stream_depends_neither_on_neighbours_nor_on_its_slot_nor_on_pauses(
    made: dict[str, TtsModel],
    engine_of: EngineOf,
    kind: str,
    mine: int,
    number: int,
    ticks: list[tuple[set[int], set[int]]],
    temperature: float,
) -> None:
    """Five slots that open or close (first set) and pause (not in the second) at will around one stream."""
    model, how = made[kind], {"temperature": temperature, "temperature_text": temperature, "top_k": 20}
    engine = engine_of(model, 5)
    engine.open(mine, options_of(kind, number, **how))
    outputs, opened = [], {mine}
    for tick, (toggled, active) in enumerate(ticks):
        for slot in toggled - {mine}:
            if slot in opened:
                engine.close(slot)
            else:
                engine.open(slot, options_of(kind, tick + slot, temperature=tick / 10, top_p=0.1 * slot))
        opened ^= toggled - {mine}
        result = engine.step(acts(active & opened))
        outputs += [result[mine]] if mine in active else []
    expected = alone(engine_of, model, options_of(kind, number, **how), len(outputs))
    assert told(outputs) == told(expected)
    np.testing.assert_allclose(sound(outputs), sound(expected), atol=1e-4)


@given(kind=kinds, before=st.integers(0, 30), steps=st.integers(1, 15), number=numbers)
@laws
def test_a_used_slot_that_is_opened_again_equals_a_fresh_engine_bit_for_bit(
    made: dict[str, TtsModel], engine_of: EngineOf, kind: str, before: int, steps: int, number: int
) -> None:
    engine = engine_of(made[kind], 2)
    engine.open(1, options_of(kind, number + 1))
    talk(engine, 1, before)
    engine.close(1)
    engine.open(1, options_of(kind, number))
    again, fresh = (
        talk(engine, 1, steps),
        alone(engine_of, made[kind], options_of(kind, number), steps, slot=1, slots=2),
    )
    assert told(again) == told(fresh)
    assert np.array_equal(sound(again), sound(fresh))


@given(kind=kinds, active=st.sets(st.integers(0, 15), min_size=1), warm=st.sampled_from([0, 8]))
@laws
def test_the_arithmetic_of_a_step_follows_the_active_streams_and_not_the_slots(
    made: dict[str, TtsModel], counted_engine_of: EngineOf, kind: str, active: set[int], warm: int
) -> None:
    """Counted, not timed: multiply-adds of one step are those of an engine that has just these slots."""
    wide, narrow = counted_engine_of(made[kind], 16), counted_engine_of(made[kind], len(active))
    assert _flops(wide, sorted(active), warm) == _flops(narrow, list(range(len(active))), warm)


def _flops(engine: TtsEngine, slots: list[int], warm: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    for slot in slots:
        engine.open(slot, TtsOptions(cfg=2.0))
    for _ in range(warm):
        engine.step(acts(set(slots)))
    with FlopCounterMode(display=False) as counter:
        engine.step(acts(set(slots)))
    return int(counter.get_total_flops())


def test_only_guidance_that_is_not_distilled_costs_another_row(
    made: dict[str, TtsModel], counted_engine_of: EngineOf
) -> None:
    for kind, dearer in (("voices", False), ("prefixes", True)):
        costs = []
        for cfg in (1.0, 2.0):
            engine = counted_engine_of(made[kind], 1)
            engine.open(0, TtsOptions(cfg=cfg))
            talk(engine, 0, 4)
            costs.append(_flops_of_step(engine))
        assert (costs[1] > 1.5 * costs[0]) is dearer


def _flops_of_step(engine: TtsEngine) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        engine.step(acts({0}))
    return int(counter.get_total_flops())


def test_before_the_delay_is_over_the_depformer_rests(made: dict[str, TtsModel], counted_engine_of: EngineOf) -> None:
    engine = counted_engine_of(made["voices"], 1)
    engine.open(0)
    costs = [_flops_of_step(engine) for _ in range(8)]
    assert costs[0] == costs[2] < costs[3] < costs[5]


@given(steps=st.integers(1, 30))
@laws
def test_streaming_equals_the_taught_pass_of_the_same_model(
    made: dict[str, TtsModel], exact_engine_of: EngineOf, steps: int
) -> None:
    """Also far beyond both context windows (10 codec positions, 7 LM positions)."""
    model, options = made["prefixes"], TtsOptions(cfg=1.0, **GREEDY)  # type: ignore[arg-type]
    outputs = alone(exact_engine_of, model, options, steps)
    columns = torch.tensor([[o.codes for o in outputs]])
    delays = torch.tensor(model.lm.config.delays)
    marked = columns.masked_fill(torch.arange(steps)[:, None] < delays, model.lm.config.card)
    text, codes = model.lm.teach(torch.tensor([[o.token for o in outputs]]), marked)
    assert [o.sampled for o in outputs] == text[0].argmax(-1).tolist()
    own = (columns >= 0) & ((torch.arange(steps)[:, None] >= 5) | (delays == 0))  # before, a column is partly its own
    assert torch.equal(codes.argmax(-1)[own], columns[own])
    frames = unskew(columns, model.lm.config.delays)[:, model.config.delay_steps :]
    expected = model.mimi.decode(frames)[0].detach().numpy() if frames.shape[1] else np.empty(0)
    np.testing.assert_allclose(sound(outputs), expected, atol=1e-4)


@given(kind=kinds, number=numbers, before=st.integers(0, 25), temperature=st.sampled_from([0.0, 0.8]))
@laws
def test_a_restored_stream_goes_on_as_if_never_interrupted(
    made: dict[str, TtsModel], engine_of: EngineOf, kind: str, number: int, before: int, temperature: float
) -> None:
    """In another slot of another engine, where all of it was kept."""
    options = options_of(kind, number, temperature=temperature, temperature_text=temperature)
    whole, history = alone(engine_of, made[kind], options, before + 12), TtsHistory(100, 4)
    for output in whole[:before]:
        history.add(output.token, output.codes)
    engine = engine_of(made[kind], 3)
    engine.open(2, options_of(kind, number + 1))
    talk(engine, 2, 9)
    engine.close(2)
    engine.restore(2, history.snapshot(options))
    after = talk(engine, 2, 12)
    assert told(after) == told(whole[before:])
    np.testing.assert_allclose(sound(after), sound(whole)[len(sound(whole[:before])) :], atol=1e-4)


@given(kind=kinds, number=numbers, kept=st.integers(3, 40))
@laws
def test_of_an_old_stream_any_number_of_steps_is_enough_to_go_on(
    made: dict[str, TtsModel], engine_of: EngineOf, kind: str, number: int, kept: int
) -> None:
    """It need not say the same; but audio goes on without a gap, and nothing of another stream is in it."""
    options, history = options_of(kind, number), TtsHistory(kept, 4)
    for output in alone(engine_of, made[kind], options, 50):
        history.add(output.token, output.codes)
    after = []
    for slots in (1, 4):
        engine = engine_of(made[kind], slots)
        engine.open(slots - 1)
        talk(engine, slots - 1, 5)
        engine.close(slots - 1)
        engine.restore(slots - 1, history.snapshot(options))
        after.append(talk(engine, slots - 1, 10))
    assert told(after[0]) == told(after[1])
    assert all(o.audio is not None and np.isfinite(o.audio).all() for o in after[0])


@pytest.mark.parametrize("kind", ["voices", "prefixes"])
def test_what_is_kept_is_enough_to_go_on_equally_far_beyond_the_context(
    made: dict[str, TtsModel], engine_of: EngineOf, kind: str
) -> None:
    """These layers hear no more than `snapshot_steps`; the first layers' past is all that differs."""
    options = options_of(kind, 2, **GREEDY)
    engine = engine_of(made[kind], 1)
    whole, history = alone(engine_of, made[kind], options, 420), TtsHistory(engine.snapshot_steps, 4)
    for output in whole[:400]:
        history.add(output.token, output.codes)
    engine.restore(0, history.snapshot(options))
    after = talk(engine, 0, 20)
    assert told(after) == told(whole[400:])
    np.testing.assert_allclose(sound(after), sound(whole[400:]), atol=1e-4)


def test_a_voice_that_is_no_number_changes_no_neighbour_and_not_the_next_user_of_the_slot(
    made: dict[str, TtsModel], engine_of: EngineOf
) -> None:
    engine, options = engine_of(made["voices"], 2), options_of("voices", 1)
    engine.open(0, options)
    engine.open(1, TtsOptions((np.full((3, 5), np.nan, np.float32),)))
    neighbour = [engine.step(acts({0, 1}))[0] for _ in range(12)]
    expected = alone(engine_of, made["voices"], options, 12)
    assert told(neighbour) == told(expected)
    engine.close(1)
    engine.open(1, options)
    assert told(talk(engine, 1, 12)) == told(expected)


def test_a_stream_is_repeated_by_its_seed_and_changed_by_another(
    made: dict[str, TtsModel], engine_of: EngineOf
) -> None:
    options = TtsOptions(seed=5)
    first = told(alone(engine_of, made["voices"], options, 20))
    assert first == told(alone(engine_of, made["voices"], options, 20))
    assert first != told(alone(engine_of, made["voices"], replace(options, seed=6), 20))


def test_codebooks_that_are_left_out_are_neither_fed_nor_heard(made: dict[str, TtsModel], engine_of: EngineOf) -> None:
    few = replace(made["voices"], config=replace(made["voices"].config, codebooks=2))
    outputs = alone(engine_of, few, TtsOptions(), 12)
    assert {o.codes[2:] for o in outputs} == {(-1, -1)}
    frames = unskew(torch.tensor([[o.codes for o in outputs]]), few.lm.config.delays)[:, few.config.delay_steps :, :2]
    np.testing.assert_allclose(sound(outputs), few.mimi.decode(frames)[0].detach().numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("voices", TtsOptions(cfg=1.7), r"cfg '1\.7' is not one of 1\.0, 2\.0"),
        ("voices", TtsOptions((np.zeros((3, 5), np.float32),) * 3), "at most 2 voices, got 3"),
        ("voices", TtsOptions((np.zeros((4, 5), np.float32),)), r"is \[1 to 3, 5\], got \[4, 5\]"),
        ("voices", TtsOptions((np.zeros((3, 6), np.float32),)), r"is \[1 to 3, 5\], got \[3, 6\]"),
        ("prefixes", TtsOptions((np.zeros((3, 5), np.float32),)), "no voice vectors, but a prefix, got 1 voices"),
        ("prefixes", TtsOptions(prefix=np.zeros((4, 3), np.int32)), r"4 codebooks, got codes \[4, 3\]"),
        ("prefixes", TtsOptions(prefix=np.full((2, 4), 32, np.int32)), "codes 0 to 31, the prefix has 32 to 32"),
    ],
)
def test_options_that_cannot_be_followed_are_told_and_take_no_slot(
    made: dict[str, TtsModel], engine_of: EngineOf, kind: str, options: TtsOptions, told: str
) -> None:
    engine = engine_of(made[kind], 1)
    with pytest.raises(ValueError, match=told):
        engine.open(0, options)
    engine.open(0)


def test_a_snapshot_of_another_model_is_told_and_takes_no_slot(made: dict[str, TtsModel], engine_of: EngineOf) -> None:
    engine, history = engine_of(made["voices"], 1), TtsHistory(4, 3)
    history.add(3, (1, 2, 3))
    with pytest.raises(ValueError, match=r"the LM speaks 4 codebooks, the snapshot's codes are \[1, 3\]"):
        engine.restore(0, history.snapshot(TtsOptions()))
    engine.open(0)


def test_a_snapshot_that_is_too_short_for_the_delays_is_told(made: dict[str, TtsModel], engine_of: EngineOf) -> None:
    history = TtsHistory(2, 4)
    for output in alone(engine_of, made["voices"], TtsOptions(), 9):
        history.add(output.token, output.codes)
    with pytest.raises(ValueError, match="after 9 steps needs at least 3 of them, got 2"):
        engine_of(made["voices"], 1).restore(0, history.snapshot(TtsOptions()))


def test_a_token_that_the_model_does_not_know_is_a_fault_of_the_caller(
    made: dict[str, TtsModel], engine_of: EngineOf
) -> None:
    engine = engine_of(made["voices"], 1)
    engine.open(0)
    with pytest.raises(AssertionError, match="text ids -1 to 461, got 462"):
        engine.step({0: lambda _: 462})
