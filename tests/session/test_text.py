"""Text in any pieces to words and breaks."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from vivavoce.core import VivavoceError
from vivavoce.session import Entry, TextReader
from vivavoce.session.text import LONGEST_WORD

from .driver import law

# what texts are made of, so that tags, and what is nearly one, come up often
BITS = st.sampled_from(
    [
        *("a", "bé", "’s", ":", "(", ")", "–", " ", "\n", "\u2003", "🙂", "<", ">", "/", "<b", "<break"),
        *('<break time="1s"/>', '<break  time="0.5s" >', '<break time=".25s"/>', '<break time="99s"/>', '="2s"/>'),
        *('<break time="1.2.3s"/>', '<break time="s"/>', "<break time='1s'/>", ' time="1', "x" * LONGEST_WORD),
    ]
)
TEXTS = st.lists(BITS | st.text(max_size=3).filter(lambda text: text.isprintable()), max_size=12).map("".join)


def read(*pieces: str, whole: bool = False) -> list[Entry]:
    reader = TextReader()
    entries = [entry for piece in pieces for entry in reader.push(piece, whole=whole)]
    return entries + reader.end()


def words(entries: list[Entry]) -> list[str]:
    return [entry.text for entry in entries]


@law(TEXTS, st.data())
def test_the_entries_do_not_depend_on_how_the_text_was_cut(text: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    assert read(*(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)]))) == read(text)
    assert read(*text) == read(text)


@law(TEXTS)
def test_an_entry_once_given_is_what_it_would_be_in_any_longer_text(text: str) -> None:
    reader = TextReader()
    given = [entry for character in text for entry in reader.push(character)]
    assert read(text + "z")[: len(given)] == given
    assert read(text + ' time="1s"/> z')[: len(given)] == given


@law(TEXTS)
def test_no_word_is_empty_or_holds_what_ends_a_word(text: str) -> None:
    for entry in read(text):
        assert bool(entry.text) or entry.pause >= 0
        assert not set(entry.text) & set("’:()– \n\u2003")
        assert len(entry.text) <= LONGEST_WORD


@law(TEXTS)
def test_what_is_held_back_is_bounded(text: str) -> None:
    reader = TextReader()
    for _ in range(20):
        reader.push(text)
    assert sum(len(entry.text) for entry in reader.end()) <= 2 * LONGEST_WORD


def test_words_are_split_at_whitespace_and_known_once_it_comes() -> None:
    reader = TextReader()
    assert reader.push("Hel") == []
    assert reader.push("lo") == []
    assert reader.push(" wor") == [Entry("Hello")]
    assert reader.push("ld,\n") == [Entry("world,")]
    assert reader.end() == []


def test_a_whole_message_ends_its_last_word() -> None:
    assert words(read("Hello", "world", "", "again", whole=True)) == ["Hello", "world", "again"]
    assert TextReader().push("Hello", whole=True) == [Entry("Hello")]


def test_a_tag_that_a_client_split_at_its_space_is_a_break() -> None:
    """The reference speaks it as text; its own script splits its input at whitespace and cannot send a break."""
    assert read("One", "<break", 'time="1s"/>', "two", whole=True) == [Entry("One"), Entry("", 12), Entry("two")]


@pytest.mark.parametrize(
    ("tag", "frames"),
    [
        ('<break time="1s"/>', 12),
        ('<break time="1s">', 12),
        ('<break   time="0.5s"   />', 6),
        ('<break time="2.s"/>', 25),
        ('<break time=".4s"/>', 5),
        ('<break time="0s"/>', 0),
        ('<break time="10s"/>', 125),
        ('<break time="3600s"/>', 125),
    ],
)
def test_a_break_is_its_seconds_in_frames_and_ten_seconds_at_most(tag: str, frames: int) -> None:
    assert read(f"a{tag}b") == [Entry("a"), Entry("", frames), Entry("b")]


@pytest.mark.parametrize(
    "text",
    ["<break", "<break time='1s'/>", '<break time="-1s"/>', '<break time="1.2.3s"/>', '<break time="s"/>', "a<b", "<",
     '<break time="1e9s"/>', '<Break time="1s"/>', '<break time="1m"/>', f'<break{" " * 17}time="1s"/>'],
)  # fmt: skip
def test_what_only_looks_like_a_tag_is_spoken(text: str) -> None:
    assert words(read(text)) == text.split()


def test_typography_is_made_plain() -> None:
    assert words(read("It’s 10:30 (or so) – 1990–95")) == ["It's", "10", "30", "or", "so", "199095"]


@pytest.mark.parametrize("text", ["", " \n\t ", "()", ":", " – "])
def test_a_text_without_a_word_gives_none(text: str) -> None:
    assert read(text) == []


def test_punctuation_alone_is_a_word() -> None:
    assert words(read("... ! ?")) == ["...", "!", "?"]


def test_each_word_knows_who_speaks_it_and_another_speaker_ends_a_word() -> None:
    reader = TextReader()
    entries = reader.push("How are") + reader.push("Fine <break", speaker=1) + reader.push("good", speaker=0)
    entries += reader.end()
    assert entries == [
        Entry("How"), Entry("are"), Entry("Fine", speaker=1), Entry("<break", speaker=1), Entry("good"),
    ]  # fmt: skip


def test_ten_thousand_words_are_ten_thousand_entries() -> None:
    said = [f"word{number}" for number in range(10_000)]
    assert words(read(" ".join(said))) == said


def test_a_word_without_an_end_is_spoken_in_parts_as_it_comes() -> None:
    reader = TextReader()
    parts = [len(entry.text) for _ in range(10) for entry in reader.push("x" * 100)]
    assert parts == [LONGEST_WORD] * 3
    assert [len(entry.text) for entry in reader.end()] == [1000 - 3 * LONGEST_WORD]


@pytest.mark.parametrize("tail", ['<break time="1s"/>', '<break time="1', "<break"])
def test_a_long_word_is_not_cut_within_a_tag_that_follows_it(tail: str) -> None:
    text = "x" * (LONGEST_WORD - 3) + tail
    assert read(*text) == read(text)


def test_clear_forgets_what_was_held_back() -> None:
    reader = TextReader()
    reader.push("Hello wor")
    reader.clear()
    assert reader.push("new ") == [Entry("new")]


@pytest.mark.parametrize(
    ("text", "speaker", "message"),
    [
        (b"bytes", 0, "text must be a str, got bytes"),
        ("a", 2, r"speaker must be 0 .* or 1 .*, got 2"),
        ("ab\ud83dc", 0, "character 2 of 4 is half a surrogate pair"),
    ],
)
def test_what_is_no_text_is_refused_and_changes_nothing(text: str, speaker: int, message: str) -> None:
    reader = TextReader()
    reader.push("Hel")
    with pytest.raises(VivavoceError, match=message):
        reader.push(text, speaker=speaker)
    assert reader.push("lo ") == [Entry("Hello")]
