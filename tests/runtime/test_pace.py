"""What a step costs, and how many streams the engine bears."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.runtime.cost import StepCost
from vivavoce.runtime.pace import Pace


def test_nothing_is_known_at_first() -> None:
    assert StepCost().predict(5) == 0


@given(st.dictionaries(st.integers(1, 64), st.floats(0.001, 1), min_size=1))
def test_what_was_seen_is_predicted_and_between_it_a_straight_line(seen: dict[int, float]) -> None:
    cost = StepCost()
    for batch, seconds in seen.items():
        cost.learn(batch, seconds)
    for batch, seconds in seen.items():
        assert cost.predict(batch) == seconds
    sizes = sorted(seen)
    for below, above in pairwise(sizes):
        low, high = sorted((seen[below], seen[above]))
        assert all(low - 1e-9 <= cost.predict(size) <= high + 1e-9 for size in range(below, above))
    assert cost.predict(2 * sizes[-1]) == pytest.approx(2 * seen[sizes[-1]])


def test_a_few_disturbed_steps_change_nothing_and_a_slower_machine_is_believed() -> None:
    cost = StepCost()
    for _ in range(15):
        cost.learn(4, 0.02)
    for _ in range(7):
        cost.learn(4, 3.0)
    assert cost.predict(4) == 0.02
    cost.learn(4, 3.0)
    assert cost.predict(4) == 3.0


def test_the_largest_batch_within_a_time() -> None:
    cost = StepCost()
    cost.learn(1, 0.01)
    cost.learn(5, 0.05)
    assert cost.largest(0.041, 64) == 4
    assert cost.largest(0.041, 3) == 3
    assert cost.largest(0.001, 64) == 0


def test_a_stream_that_would_break_the_promise_to_others_is_not_borne() -> None:
    pace = Pace(0.9)
    pace.learn(1, 0.02)
    pace.learn(10, 0.08)
    assert pace.load(10) == pytest.approx(1.0)
    assert pace.bears(8)
    assert not pace.bears(9)
    assert pace.capacity(64) == 8
    assert pace.capacity(5) == 5


def test_a_first_stream_is_always_borne_and_without_a_limit_any() -> None:
    slow = Pace(0.9)
    slow.learn(1, 0.5)
    assert slow.bears(1)
    assert not slow.bears(2)
    assert slow.capacity(4) == 0
    careless = Pace(0)
    careless.learn(1, 0.5)
    assert careless.bears(4)
    assert careless.capacity(4) == 4


def test_step_times_of_the_last_minute() -> None:
    pace = Pace(0.9)
    assert pace.percentiles(0.0) == (0.0, 0.0)
    pace.stepped(1, 9.0, now=0.0)  # long ago
    for n in range(100):
        pace.stepped(1, (n + 1) / 1000, now=60.5)
    median, late = pace.percentiles(61.0)
    assert median == pytest.approx(0.051)
    assert late == pytest.approx(0.096)
