"""The engine that computes nothing keeps the contract of the others, so that what serves them serves it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.core import FRAME_SIZE
from vivavoce.engine import History, NullEngine, StepOutput

SILENCE = np.zeros(FRAME_SIZE, np.float32)


def heard(engine: NullEngine, slot: int, frames: int) -> list[StepOutput]:
    return [engine.step({slot: SILENCE})[slot] for _ in range(frames)]


@given(st.integers(1, 400), st.lists(st.integers(1, NullEngine.TOGETHER), max_size=8))
def test_frames_heard_together_are_those_heard_one_by_one(before: int, passes: list[int]) -> None:
    engine = NullEngine(2)
    for slot in (0, 1):
        engine.open(slot)
        heard(engine, slot, before)
    together = [output for k in passes for output in engine.catch_up({0: np.stack([SILENCE] * k)})[0]]
    assert together == heard(engine, 1, sum(passes))


@given(st.integers(1, 900), st.integers(1, 50))
def test_a_restored_stream_goes_on_as_if_nothing_had_happened(before: int, after: int) -> None:
    engine = NullEngine(3)
    history = History(engine.open(2), *engine.snapshot_frames, engine.n_q)
    for output in heard(engine, 2, before):
        history.add(SILENCE, output.token, output.codes)
    engine.restore(0, history.snapshot())
    assert heard(engine, 0, after) == heard(engine, 2, after)


def test_an_opened_slot_equals_a_fresh_engine() -> None:
    engine = NullEngine(1)
    engine.open(0)
    first = heard(engine, 0, 300)
    engine.close(0)
    engine.open(0)
    assert heard(engine, 0, 300) == first


def test_another_models_snapshot_is_refused() -> None:
    history = History(3, 50, 78, 16)
    history.add(SILENCE, 3, [0] * 16)
    with pytest.raises(ValueError, match="32 codebooks"):
        NullEngine(1).restore(0, history.snapshot())
