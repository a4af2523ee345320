"""What is kept of a stream that speaks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from vivavoce.engine import TtsHistory, TtsOptions, TtsSnapshot


def snapshot(steps: int, tokens: int, columns: int, *, token: int = 3, code: int = 0, dep_q: int = 2) -> TtsSnapshot:
    return TtsSnapshot(steps, np.full(tokens, token, np.int32), np.full((columns, dep_q), code, np.int32))


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 11])
def test_history_keeps_the_newest_steps_in_order(steps: int) -> None:
    history = TtsHistory(4, 2)
    for step in range(steps):
        history.add(step, None if step < 2 else (step, -1))
    kept = history.snapshot(TtsOptions(seed=5))
    newest = list(range(max(0, steps - 4), steps))
    assert kept.steps == history.steps == steps
    assert kept.tokens.tolist() == newest
    assert kept.codes.tolist() == [[-1 if step < 2 else step, -1] for step in newest]
    assert kept.options.seed == 5


def test_a_snapshot_is_a_copy() -> None:
    history = TtsHistory(2, 1)
    history.add(1, [1])
    kept = history.snapshot(TtsOptions())
    history.add(2, [2])
    history.add(3, [3])
    assert kept.tokens.tolist() == [1]


def test_a_snapshot_travels_with_its_voice() -> None:
    voice = np.ones((5, 4), np.float32)
    history = TtsHistory(2, 1)
    history.add(1, [1])
    other = pickle.loads(pickle.dumps(history.snapshot(TtsOptions(voices=(voice,), cfg=2.0))))
    np.testing.assert_array_equal(other.options.voices[0], voice)
    assert other.options.cfg == 2.0


@pytest.mark.parametrize(
    ("steps", "tokens", "columns", "message"),
    [
        (0, 1, 1, "after 0 steps cannot hold 1 text tokens"),
        (3, 0, 0, "after 3 steps cannot hold 0 text tokens"),
        (3, 4, 4, "after 3 steps cannot hold 4 text tokens"),
        (3, 2, 3, r"\[2\] text tokens needs as many columns of codes, got \[3, 2\]"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(steps: int, tokens: int, columns: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        snapshot(steps, tokens, columns)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (snapshot(2, 2, 2, dep_q=3), r"speaks 2 codebooks, the snapshot's codes are \[2, 3\]"),
        (snapshot(2, 2, 2, code=8), "codes -1 to 7, the snapshot has 8 to 8"),
        (snapshot(2, 2, 2, code=-2), "codes -1 to 7, the snapshot has -2 to -2"),
        (snapshot(2, 2, 2, token=30), "text tokens -1 to 29, the snapshot has 30 to 30"),
    ],
)
def test_what_another_model_made_is_refused(made: TtsSnapshot, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made.must_fit(dep_q=2, card=8, text_ids=30)


def test_what_the_model_made_itself_fits() -> None:
    snapshot(2, 2, 2, token=-1, code=-1).must_fit(2, 8, 30)
    snapshot(2, 1, 1, token=29, code=7).must_fit(2, 8, 30)
    snapshot(0, 0, 0).must_fit(2, 8, 30)
