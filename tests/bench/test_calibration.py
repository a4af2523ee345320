"""Confidences against what was right."""

from __future__ import annotations

from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from vivavoce.bench.calibration import BINS, bins, expected_error, judge
from vivavoce.core import Word

WORDS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50)


def heard(*words: tuple[str, float]) -> list[Word]:
    return [Word(text, 0.0, 0.0, confidence) for text, confidence in words]


def test_a_word_is_right_where_it_stands_in_what_was_said() -> None:
    told = judge(
        "One, two three four.", heard(("one", 0.9), ("ten", 0.4), ("three", 0.8), ("Four", 0.7), ("four", 0.6))
    )
    assert [right for _, right in told][:3] == [True, False, True]
    assert sum(right for _, right in told) == 3
    assert [confidence for confidence, _ in told] == [0.9, 0.4, 0.8, 0.7, 0.6]


def test_nothing_said_makes_every_word_wrong_and_nothing_heard_makes_none() -> None:
    assert judge("", heard(("one", 0.9))) == [(0.9, False)]
    assert judge("one", []) == []
    assert expected_error([]) is None


def test_a_word_that_is_none_to_the_alignment_leaves_the_recording_out() -> None:
    assert judge("twenty one", heard(("twenty-one", 0.9))) == []


def test_half_right_at_a_half_is_calibrated_and_sure_but_wrong_is_not() -> None:
    assert expected_error([(0.5, True), (0.5, False)]) == 0
    assert expected_error([(1.0, False)]) == 1
    assert expected_error([(1.0, True)]) == 0


@given(WORDS)
def test_each_word_is_in_one_bin(words: list[tuple[float, bool]]) -> None:
    found = bins(words)
    assert sum(one.words for one in found) == len(words)
    assert all(one.low <= one.confidence <= one.low + 1 / BINS + 1e-9 for one in found)
    assert isclose(sum(one.words * one.right for one in found), sum(right for _, right in words), abs_tol=1e-9)


@given(WORDS)
def test_the_error_lies_between_that_of_one_bin_and_one(words: list[tuple[float, bool]]) -> None:
    error = expected_error(words)
    assert error is not None
    apart = abs(sum(c for c, _ in words) - sum(right for _, right in words)) / len(words)
    assert apart - 1e-9 <= error <= 1
