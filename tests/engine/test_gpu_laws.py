"""The laws of the engine over the GPU's path, each with a few examples: `test_laws` says them.

Where a law compares with one stream alone, that one is stepped by PyTorch: so this is the parity of the two as well.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.engine import History, SttEngine
from vivavoce.engine.terms import Term

from . import test_laws
from .conftest import TERMS
from .gpu import beside_plain, graphed, tiny_models
from .test_laws import EngineOf, alone, some_terms, sound, told

few = settings(max_examples=2, deadline=None, derandomize=True)
some_slots = st.sets(st.integers(0, 4), max_size=2)
temperatures = st.sampled_from([0.0, 0.9])


@pytest.fixture(scope="module")
def engine_of() -> EngineOf:
    return beside_plain(tiny_models())


@pytest.fixture(scope="module")
def only_graphed() -> EngineOf:
    models = tiny_models()
    return lambda slots: graphed(models, slots)


def law(test: Callable[..., None]) -> Callable[..., None]:
    """What a property test says of one example."""
    inner: Callable[..., None] = test.hypothesis.inner_test  # type: ignore[attr-defined]
    return inner


@given(
    mine=st.integers(0, 4),
    ticks=st.lists(st.tuples(some_slots, some_slots), min_size=6, max_size=7),
    temperature=temperatures,
    terms=some_terms,
)
@few
def test_a_stream_depends_neither_on_neighbours_nor_on_its_slot_nor_on_pauses(
    engine_of: EngineOf, mine: int, ticks: list[Any], temperature: float, terms: tuple[Term, ...]
) -> None:
    law(test_laws.test_a_stream_depends_neither_on_neighbours_nor_on_its_slot_nor_on_pauses)(
        engine_of, mine, ticks, temperature, terms
    )


def test_a_used_slot_that_is_opened_again_equals_a_fresh_engine_bit_for_bit(only_graphed: EngineOf) -> None:
    law(test_laws.test_a_used_slot_that_is_opened_again_equals_a_fresh_engine_bit_for_bit)(only_graphed, 5, 2)


def test_nan_and_infinity_change_no_neighbour_and_not_the_next_user_of_the_slot(
    engine_of: EngineOf, only_graphed: EngineOf
) -> None:
    """Shorter than in `test_laws`: three frames with the poison in the second, and two of the next user."""
    engine = only_graphed(3)
    for slot in range(3):
        engine.open(slot)
    neighbour = []
    for i, frame in enumerate(sound(7, 3)):
        bad = sound(8 + i, 1)[0]
        bad[::3] = [np.nan, np.inf, -np.inf, -3e38] if i == 1 else bad[::3]
        result = engine.step({0: frame, 1: bad, 2: frame})
        assert result[0] == result[2]
        assert np.isfinite([result[1].logprob, *result[1].vad]).all()
        neighbour.append(result[0])
    assert told(neighbour) == told(alone(engine_of, sound(7, 3)))
    engine.close(1)
    engine.open(1)
    after = [engine.step({1: frame})[1] for frame in sound(9, 2)]
    assert after == alone(only_graphed, sound(9, 2), slot=1, slots=3)


def test_the_arithmetic_of_a_step_follows_the_active_streams_and_not_the_slots(only_graphed: EngineOf) -> None:
    law(test_laws.test_the_arithmetic_of_a_step_follows_the_active_streams_and_not_the_slots)(only_graphed, {3, 31})


def test_streaming_equals_the_offline_pass_of_the_same_model() -> None:
    models = tiny_models()
    law(test_laws.test_streaming_equals_the_offline_pass_of_the_same_model)(
        lambda slots: graphed(models, slots), tuple(copy.deepcopy(network).cpu() for network in models), 8
    )


@given(
    mine=st.integers(0, 3),
    bites=st.lists(
        st.tuples(st.integers(1, 4), st.sets(st.integers(0, 3), max_size=1), st.booleans()), min_size=2, max_size=2
    ),
    temperature=temperatures,
    terms=some_terms,
)
@few
def test_catching_up_gives_what_as_many_steps_give(
    engine_of: EngineOf, mine: int, bites: list[Any], temperature: float, terms: tuple[Term, ...]
) -> None:
    law(test_laws.test_catching_up_gives_what_as_many_steps_give)(engine_of, mine, bites, temperature, terms)


def test_a_sampled_stream_is_repeated_by_its_seed(engine_of: EngineOf) -> None:
    """And by PyTorch: the noise is the same on every device."""
    ours = told(alone(engine_of, sound(12, 5), slot=1, slots=2, temperature=1.0, seed=5))
    assert ours == told(alone(engine_of, sound(12, 5), temperature=1.0, seed=5))
    assert ours != told(alone(engine_of, sound(12, 5), temperature=1.0, seed=6))


def test_stepping_a_slot_that_is_not_open_is_a_fault_of_the_caller(only_graphed: EngineOf) -> None:
    test_laws.test_stepping_a_slot_that_is_not_open_is_a_fault_of_the_caller(only_graphed)


def test_an_empty_step_does_nothing(only_graphed: EngineOf) -> None:
    assert only_graphed(1).step({}) == {}


@pytest.mark.parametrize(("at", "temperature", "terms"), [(0, 0.0, ()), (2, 0.9, TERMS), (11, 0.0, TERMS)])
def test_a_stream_whose_life_was_kept_goes_on_as_if_never_interrupted(
    engine_of: EngineOf, at: int, temperature: float, terms: tuple[Term, ...]
) -> None:
    """From its beginning, from before and from behind both windows; into a slot that was used."""
    frames = sound(21, at + 3)
    expected = alone(engine_of, frames, temperature=temperature, seed=9, terms=terms)
    before = engine_of(1)
    first = before.open(0, temperature=temperature, seed=9, terms=terms)
    history = History(first, 100, 100, 3, temperature, 9, terms)
    for frame in frames[:at]:
        output = before.step({0: frame})[0]
        history.add(frame, output.token, output.codes)
    engine: SttEngine = engine_of(2)
    engine.open(1)
    engine.step({1: frames[-1]})
    engine.close(1)
    engine.restore(1, history.snapshot())
    assert told([engine.step({1: frame})[1] for frame in frames[at:]]) == told(expected[at:])
