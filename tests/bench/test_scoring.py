"""Word error rates by table, laws of the comparison."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.bench.scoring import Kind, compare, differences, normalise, word_error_rate

TEXTS = st.lists(st.sampled_from(["zero", "one", "two", "three,", "Four."]), max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("reference", "heard", "rate"),
    [
        ("zero two", "zero two", 0.0),
        ("Zero, two.", "zero  two!", 0.0),
        ("zero two", "zero", 0.5),
        ("zero two", "zero one two", 0.5),
        ("zero two", "zero ten", 0.5),
        ("zero", "one two three", 3.0),
        ("don't", "don t", 0.0),  # punctuation is a space
        ("", "", 0.0),
        ("", "zero", 1.0),
        (" , .", "", 0.0),
        ("zero", "", 1.0),
    ],
)
def test_word_error_rate(reference: str, heard: str, rate: float) -> None:
    assert word_error_rate(reference, heard) == rate


@pytest.mark.parametrize(
    ("reference", "heard", "kinds"),
    [
        ("zero two", "zero two", "match match"),
        ("Zero, two.", "zero two", "match match"),
        ("zero two three", "zero three", "match missing match"),
        ("zero three", "zero two three", "match extra match"),
        ("zero two", "zero ten", "match missing extra"),
        ("seven", "seben", "match"),  # one letter of five
        ("four", "fous", "missing extra"),  # too short to be forgiven
        ("seven", "sebem", "missing extra"),
        ("seven", "sevens", "missing extra"),
        ("", "zero", "extra"),
        ("zero", "", "missing"),
        ("", "", ""),
    ],
)
def test_comparison(reference: str, heard: str, kinds: str) -> None:
    assert [piece.kind for piece in compare(reference, heard)] == kinds.split()


def test_what_has_not_been_said_yet_is_pending_and_not_missing() -> None:
    pieces = compare("zero two seven nine", "zero seven", running=True)
    assert [piece.kind for piece in pieces] == ["match", "missing", "match", "pending"]


@given(TEXTS, TEXTS)
def test_the_comparison_shows_every_heard_word_once_and_in_order(reference: str, heard: str) -> None:
    shown: set[Kind] = {"match", "extra"}
    assert " ".join(piece.text for piece in compare(reference, heard) if piece.kind in shown) == heard


@given(TEXTS)
def test_a_text_matches_itself(text: str) -> None:
    assert {piece.kind for piece in compare(text, text)} <= {"match"}
    assert word_error_rate(text, text) == 0
    assert normalise(normalise(text)) == normalise(text)


@given(TEXTS, TEXTS)
def test_differences_count_exact_spelling_both_ways(one: str, other: str) -> None:
    assert differences(one.split(), other.split()) == differences(other.split(), one.split())
    assert (differences(one.split(), other.split()) == 0) == (one == other)
