"""A model that can say some words only: what is read as these, what is refused, and what that does to a stream."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from vivavoce.checkpoints.vocabulary import words_of
from vivavoce.core import UnsupportedError
from vivavoce.session.text import Entry
from vivavoce.session.vocabulary import Vocabulary
from vivavoce.train.speak.sizes import tokenizer as tokenizer_of_the_voice

from .driver import law
from .speaker import PROFILE, Speaker, session, words

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", *"0123456789")
ONLY = replace(PROFILE, words=WORDS)
PIECES = tokenizer_of_the_voice()


def read(text: str) -> list[str]:
    return [entry.text for entry in Vocabulary(WORDS).read([Entry(text)])]


def known(word: str) -> bool:
    ids = PIECES.encode(word)
    return len(ids) == 1 and ids[0] != PIECES.unk_id()


def test_a_tokenizer_of_whole_words_names_them_and_one_that_spells_names_none(tokenizer: bytes) -> None:
    assert words_of(PIECES) == WORDS
    assert words_of(SentencePieceProcessor(model_proto=tokenizer)) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("four", ["four"]), ("Four!", ["Four!"]), ("415", ["4", "1", "5"]), ("415,", ["4", "1", "5,"]),
        ("four-one.", ["four", "one."]), ("nine...", ["nine."]), ('"two"', ["two"]), ("-", []), ("...", []),
    ],
)  # fmt: skip
def test_figures_and_joined_words_are_said_one_by_one_and_marks_alone_not_at_all(text: str, said: list[str]) -> None:
    assert read(text) == said
    assert all(map(known, said))


@pytest.mark.parametrize("text", ["hello", "fourteen", "4th", "four-teen", "zéro", "٤"])
def test_another_word_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(UnsupportedError, match=f"^this voice cannot say '{text}'; its words are zero, one, .*, 9$"):
        read(text)


@law(st.one_of(st.text(max_size=9), st.lists(st.sampled_from([*"49,.;!?-' ", "Two", "six"]), max_size=9).map("".join)))
def test_whatever_is_read_is_known_to_the_tokenizer(text: str) -> None:
    with suppress(UnsupportedError):
        assert all(known(part) for word in text.split() for part in read(word))


def test_a_model_of_any_word_is_given_all_and_a_break_is_no_word() -> None:
    entries = [Entry("hello"), Entry("", 5), Entry("...")]
    assert Vocabulary(()).read(entries) == entries
    assert Vocabulary(WORDS).read([Entry("", 5)]) == [Entry("", 5)]


def test_a_stream_goes_on_after_a_refused_word_and_ends_though_its_last_one_is_refused() -> None:
    stream = session(ONLY)
    stream.push("four ")
    with pytest.raises(UnsupportedError, match="'hello'"):
        stream.push("one hello ")
    stream.push("five bye")
    with pytest.raises(UnsupportedError, match="'bye'"):
        stream.end()
    assert stream.ended
    assert [word.text for word in words(Speaker(stream, profile=ONLY).run())] == ["four", "five"]


def test_a_text_is_checked_without_being_said() -> None:
    stream = session(ONLY)
    stream.check("four one, five")
    with pytest.raises(UnsupportedError, match="'hello'"):
        stream.check("four hello")
    stream.end()
    assert stream.finished
