"""Key terms: what they may change, what they may not, and on what a place among them depends."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.core import TEXT_BOUNDARY, TEXT_PAD
from vivavoce.engine.terms import BEGINS, GOES_ON, MOST_TIMES, SILENT, Guide, Place, Term, Terms, kinds_of
from vivavoce.nn.sampling import Draws, Wanted, choose

from .conftest import PIECES, TERMS
from .test_laws import EngineOf, alone, laws, sound

KINDS = kinds_of(PIECES, 20)
BEGINNINGS, LATER = st.integers(4, 11), st.integers(12, 19)
tokens = st.integers(0, 19)
a_term = st.builds(
    lambda first, rest, boost: Term((first, *rest), boost),
    BEGINNINGS, st.lists(st.integers(4, 19), max_size=5), st.floats(0.125, 10, width=32),
)  # fmt: skip
some = st.lists(a_term, min_size=1, max_size=6)


def place_behind(terms: Terms, said: list[int]) -> Place:
    place = Place()
    for token in said:
        place = terms.after(place, token)
    return place


def bonus_behind(terms: Terms, said: list[int]) -> list[float]:
    return terms.bonus(place_behind(terms, said)).tolist()


def test_a_token_is_silent_or_begins_a_word_or_goes_on_with_one() -> None:
    kinds = kinds_of(("▁is-unk-here", "<s>", "</s>", "<pad>", "<unk>", "▁a", "b", "<0xC3>", "▁"), 11)
    assert kinds.tolist() == [SILENT] * 5 + [BEGINS, GOES_ON, GOES_ON, BEGINS, SILENT, SILENT]


@given(terms=some, before=st.lists(tokens, max_size=12), said=st.lists(tokens, min_size=5, max_size=20))
@laws
def test_the_bonus_is_a_function_of_the_newest_tokens_as_many_as_the_span(
    terms: list[Term], before: list[int], said: list[int]
) -> None:
    tree = Terms(terms, KINDS, span=5)
    assert bonus_behind(tree, before + said) == bonus_behind(tree, said)


@given(terms=some, which=st.integers(0, 5), before=st.lists(tokens, max_size=8), pauses=st.lists(st.integers(0, 3)))
@laws
def test_a_terms_own_tokens_get_its_boost_once_twice_and_so_on_to_the_end(
    terms: list[Term], which: int, before: list[int], pauses: list[int]
) -> None:
    """Wherever it is said, and however long the pauses between its words are, up to the span."""
    term, tree = terms[which % len(terms)], Terms(terms, KINDS)
    place = place_behind(tree, before)
    for done, token in enumerate(term.tokens, 1):
        if KINDS[token] == BEGINS and done > 1:
            for _ in range(pauses[done % len(pauses)] if pauses else 0):
                place = tree.after(place, TEXT_PAD)
            place = tree.after(place, TEXT_BOUNDARY)
        assert tree.bonus(place)[token] >= np.float32(term.boost * min(done, MOST_TIMES))
        place = tree.after(place, token)


@given(terms=some, said=st.lists(tokens, max_size=20))
@laws
def test_nothing_but_tokens_of_terms_gets_a_bonus_and_none_more_than_four_times_a_boost(
    terms: list[Term], said: list[int]
) -> None:
    bonus = np.array(bonus_behind(Terms(terms, KINDS), said))
    assert set(np.flatnonzero(bonus).tolist()) <= {token for term in terms for token in term.tokens}
    assert 0 <= bonus.min() <= bonus.max() <= np.float32(MOST_TIMES * max(term.boost for term in terms))


def test_a_word_that_was_left_is_not_gone_on_with() -> None:
    tree = Terms([Term((4, 12, 13), 3.0), Term((4, 5), 2.0)], KINDS)
    assert bonus_behind(tree, [4])[12] == 6.0
    assert bonus_behind(tree, [4])[5] == 4.0
    for other in (TEXT_PAD, TEXT_BOUNDARY, 14, 6):  # a silence, another piece, another word
        assert bonus_behind(tree, [4, other])[12] == 0
    assert bonus_behind(tree, [4, TEXT_PAD])[5] == 4.0  # but a phrase may have a pause
    assert bonus_behind(tree, [4, 14])[5] == 0


def test_a_phrase_is_left_when_its_time_is_over() -> None:
    tree = Terms([Term((4, 5), 2.0)], KINDS, span=10)
    assert bonus_behind(tree, [4, *[TEXT_PAD] * 9])[5] == 4.0
    assert bonus_behind(tree, [4, *[TEXT_PAD] * 10])[5] == 0


@given(terms=some, said=st.lists(tokens, min_size=1, max_size=20), keep=st.integers(1, 20))
@laws
def test_what_was_followed_and_not_kept_was_never_heard(terms: list[Term], said: list[int], keep: int) -> None:
    tree, keep = Terms(terms, KINDS), min(keep, len(said))
    guide = Guide(tree)
    guide.follow([*said[:keep], *reversed(said)])
    guide.keep(keep)
    (bonus,) = guide.follow([TEXT_PAD])
    assert bonus.tolist() == bonus_behind(tree, [*said[:keep], TEXT_PAD])
    (again,) = Guide(tree, said[:keep]).follow([TEXT_PAD])
    assert bonus.tolist() == again.tolist()


# --- the choice ---


def chosen(logits: torch.Tensor, bonus: torch.Tensor | None, temperature: float) -> tuple[list[int], list[float]]:
    rows = torch.arange(len(logits))
    wanted = None if bonus is None else Wanted(rows, bonus, torch.from_numpy(KINDS))
    token, logprob = choose(logits, Draws(torch.full((len(logits),), temperature), rows, rows), wanted)
    return token.tolist(), logprob.tolist()


@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.0, 0.7]), boost=st.floats(0, 50))
@laws
def test_a_bonus_never_turns_silence_into_a_word_nor_a_word_into_silence(
    seed: int, temperature: float, boost: float
) -> None:
    """Nor a word's beginning into a later piece of one, nor the other way round."""
    torch.manual_seed(seed)
    logits, bonus = torch.randn(30, 20) * 3, torch.rand(30, 20) * boost
    with_them, logprobs = chosen(logits, bonus, temperature)
    without, _ = chosen(logits, None, temperature)
    assert KINDS[with_them].tolist() == KINDS[without].tolist()
    expected = logits.log_softmax(-1)[torch.arange(30), with_them]
    assert logprobs == expected.tolist()  # the model's own: who hears a term only because it was told to is not sure


@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.0, 0.7]))
@laws
def test_an_equal_bonus_for_all_changes_no_bit(seed: int, temperature: float) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(30, 20) * 3
    assert chosen(logits, torch.zeros(30, 20), temperature) == chosen(logits, None, temperature)


def test_a_word_as_probable_as_the_boost_says_is_taken_and_one_that_is_less_is_not() -> None:
    logits = torch.full((2, 20), -9.0)
    logits[:, 5], logits[0, 4], logits[1, 4] = 2.0, 1.01, 0.99
    bonus = torch.from_numpy(np.stack([Terms([Term((4,), 1.0)], KINDS).bonus(())] * 2))
    assert chosen(logits, bonus, 0.0)[0] == [4, 5]


# --- the engine ---


def test_the_first_thing_that_terms_change_is_which_word_a_stream_says_not_whether(engine_of: EngineOf) -> None:
    def said(terms: tuple[Term, ...]) -> list[int]:
        engine = engine_of(1)
        return [engine.open(0, terms=terms), *(engine.step({0: frame})[0].token for frame in sound(31, 40))]

    plain, led = said(()), said(TERMS)
    at = next(i for i, (a, b) in enumerate(zip(plain, led, strict=True)) if a != b)
    assert KINDS[plain[at]] == KINDS[led[at]] != SILENT


def test_a_stream_without_terms_is_the_same_to_the_bit_beside_one_that_has_some(engine_of: EngineOf) -> None:
    engine, beside = engine_of(2), engine_of(2)
    for slot in range(2):
        engine.open(slot)
        beside.open(slot, terms=TERMS if slot else ())
    for frame in sound(32, 20):
        assert engine.step({0: frame, 1: frame})[0] == beside.step({0: frame, 1: frame})[0]


def test_the_next_stream_of_a_slot_has_its_own_terms(engine_of: EngineOf) -> None:
    engine, frames = engine_of(1), sound(33, 20)
    engine.open(0, terms=TERMS)
    for frame in frames:
        engine.step({0: frame})
    engine.close(0)
    engine.open(0)
    assert [engine.step({0: frame})[0] for frame in frames] == alone(engine_of, frames)


def test_terms_that_all_words_are_change_nothing(engine_of: EngineOf) -> None:
    """Of a model that says whole words only, as the embedded one: each gets the same."""
    every = [Term((token,), 5.0) for token in np.flatnonzero(KINDS == BEGINS).tolist()]
    assert alone(engine_of, sound(34, 20), terms=every) == alone(engine_of, sound(34, 20))
