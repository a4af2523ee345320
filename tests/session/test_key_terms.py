"""Key terms: how a caller writes them, how a model does, and which are refused."""

from __future__ import annotations

import re

import pytest
import sentencepiece
from hypothesis import strategies as st

from vivavoce.core import KeyTerm, UnsupportedError
from vivavoce.engine.terms import SILENT, Term, Terms, kinds_of
from vivavoce.session.key_terms import LONGEST, MOST, check, given, read, spell, written
from vivavoce.settings import embedded

from .driver import law


def pieces_of(tokenizer: bytes) -> tuple[str, ...]:
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    return tuple(processor.IdToPiece(i) for i in range(processor.GetPieceSize()))


def spelled(tokenizer: bytes, *terms: str) -> list[str]:
    """The pieces of each way to write the terms."""
    pieces = pieces_of(tokenizer)
    return [" ".join(pieces[token] for token in term.tokens) for term in spell(given(terms), tokenizer, pieces)]


@pytest.fixture(scope="module")
def digits() -> bytes:
    return (embedded("stt") / "tokenizer.model").read_bytes()


def cased() -> bytes:
    """A tokenizer that writes capitals too."""
    import io

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["Viva voce Voce viva"] * 20), model_writer=model, vocab_size=24, pad_id=3,
        hard_vocab_limit=False, character_coverage=1.0, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("Kyutai", KeyTerm("Kyutai", 0.5)), ("New York:2.5", KeyTerm("New York", 2.5)), ("4:3", KeyTerm("4", 3)),
        ("C: b", KeyTerm("C: b")), (":2", None), ("one:0", None), ("one:-1", None), ("one:99", None), ("", None),
    ],
)  # fmt: skip
def test_a_number_behind_the_last_colon_is_a_boost(text: str, term: KeyTerm | None) -> None:
    if term is None:
        with pytest.raises(UnsupportedError):
            read(text)
    else:
        assert read(text) == term


@law(st.text("abc :.19", min_size=1, max_size=9), st.floats(0.01, 5).map(lambda boost: round(boost, 2)))
def test_what_is_written_is_read_as_it_was(text: str, boost: float) -> None:
    if text.split():
        assert read(written(KeyTerm(text, boost))) == KeyTerm(text, boost)


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ([KeyTerm("a")] * (MOST + 1), f"at most {MOST} key terms, got {MOST + 1}"),
        ([KeyTerm("a" * (LONGEST + 1))], f"at most {LONGEST} characters, '{'a' * 40}…' has {LONGEST + 1}"),
        ([KeyTerm(" \n")], r"must be a word or a phrase, got ' \n'"),
        ([KeyTerm("a", 0)], "above 0 and at most 5, that of 'a' is 0"),
        ([KeyTerm("a", float("nan"))], "that of 'a' is nan"),
    ],
)
def test_what_cannot_be_a_term_is_refused_and_the_limit_named(terms: list[KeyTerm], why: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(why)):
        check(terms)
    check([KeyTerm("a" * LONGEST, 5)] * MOST)


def test_a_term_is_spelled_word_by_word_as_the_text_of_training_was(tokenizer: bytes, digits: bytes) -> None:
    assert spelled(digits, "seven  four") == ["▁seven ▁four"]
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    word_by_word = " ".join(piece for word in ("living", "voice") for piece in processor.Encode(word, out_type=str))
    assert spelled(tokenizer, "living voice") == [word_by_word]


def test_a_term_that_begins_small_may_begin_a_sentence_and_one_that_does_not_is_a_name() -> None:
    tokenizer = cased()
    joined = [way.replace(" ", "").replace("▁", " ").strip() for way in spelled(tokenizer, "voce", "Viva")]
    assert joined == ["voce", "Voce", "Viva"]


def test_capitals_that_the_model_does_not_know_are_left_out(digits: bytes) -> None:
    assert spelled(digits, "Seven", "FOUR:2") == ["▁seven", "▁four"]


def test_a_term_that_the_model_cannot_write_is_refused_with_the_words_that_it_has(
    digits: bytes, tokenizer: bytes
) -> None:
    with pytest.raises(UnsupportedError, match=r"cannot write the key term 'seven Kyutai'; its words are zero, one, "):
        spelled(digits, "one", "seven Kyutai")
    with pytest.raises(UnsupportedError, match=r"cannot write the key term 'Ωmega'$"):
        spelled(tokenizer, "Ωmega")


def test_a_term_of_too_many_pieces_is_refused(tokenizer: bytes) -> None:
    long = "h" * 40
    with pytest.raises(UnsupportedError, match=rf"at most 32 pieces, '{long}' has 4[01] of this model's"):
        spelled(tokenizer, long)


def test_without_a_tokenizer_terms_are_refused_and_no_terms_are_not() -> None:
    assert spell((), b"", ()) == ()
    with pytest.raises(UnsupportedError, match="tokenizer is not known"):
        spell((KeyTerm("one"),), b"", ())


@law(st.lists(st.sampled_from(["viva", "voce", "v", "living", "ice", "4", "11"]), min_size=1, max_size=4).map(" ".join))
def test_whatever_is_spelled_can_be_followed(tokenizer: bytes, text: str) -> None:
    pieces = pieces_of(tokenizer)
    kinds = kinds_of(pieces, len(pieces))
    terms: tuple[Term, ...] = spell((KeyTerm(text),), tokenizer, pieces)
    Terms(terms, kinds)
    assert all(kinds[token] != SILENT for term in terms for token in term.tokens)
