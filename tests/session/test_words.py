"""Tokens to words (spec §3.4, §8.1)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from vivavoce.core import Event, Token, Word, WordEnded, WordStarted
from vivavoce.session import SttSession
from vivavoce.session.words import MAX_PIECES

from .driver import ID, MARK, PAD, PROFILE, D, Engine, always, audio, hear, profile, started, text, track, words


def near(value: float) -> Any:
    return pytest.approx(value)


def approx(*items: Word) -> list[Word]:
    return [Word(w.text, near(w.start), near(w.stop), near(w.confidence)) for w in items]


def test_the_worked_example_of_the_specification() -> None:
    """§8.1: index 17 = 0, 18 = ▁hel, 19 = lo, 20... = 3; the 1B rule gives start = (18 - 6) / 12.5 = 0.96 s."""
    events = hear(track((17, [MARK, "▁hel", "lo"]), (40, [MARK, "▁you"])), frames=60)
    assert words(events) == approx(Word("hello", 0.96, 2.8, 0.5), Word("you", 2.8, 3.8, 0.5))


def test_events_tell_a_word_as_it_becomes_known() -> None:
    session = SttSession(PROFILE)
    session.push(audio(60))
    engine = Engine(session, track((17, [MARK, "▁hel", "lo"]), (40, [MARK])))
    said = [(engine.index, events) for _ in range(45) if (events := engine.run(1))]
    assert dict(said) == {
        18: [Token("hel", near(0.96))],
        19: [Token("lo", near(1.04))],
        20: [WordStarted("hello", near(0.96), near(0.5))],
        40: [WordEnded(*approx(Word("hello", 0.96, 2.8, 0.5)))],
    }


def test_a_word_to_which_nothing_can_be_added_is_told_with_its_piece() -> None:
    """A tokenizer that has whole words only, as that of the embedded model."""
    session = SttSession(profile(pieces=("<unk>", "<s>", "</s>", "<pad>", "▁one", "▁two")))
    session.push(audio(60))
    engine = Engine(session, [*[PAD] * 17, MARK, 4, 5, PAD, MARK])
    said = [(engine.index, events) for _ in range(30) if (events := engine.run(1))]
    one, two = Word("one", 0.96, 1.04, 0.5), Word("two", 1.04, 1.28, 0.5)
    assert dict(said) == {
        18: [Token("one", near(0.96)), WordStarted("one", near(0.96), near(0.5))],
        19: [WordEnded(*approx(one)), Token(" two", near(1.04)), WordStarted("two", near(1.04), near(0.5))],
        21: [WordEnded(*approx(two))],
    }


def test_adjacent_words_without_a_marker_are_two_words() -> None:
    (hello, you) = words(hear(track((17, [MARK, "▁hel", "lo", "▁you", PAD])), frames=60))
    assert (hello.text, you.text) == ("hello", "you")
    assert hello.stop == you.start == (20 - D) / 12.5


def test_the_word_before_is_told_before_the_first_piece_of_the_next() -> None:
    events = hear(track((17, [MARK, "▁I", "▁you"])), frames=20)
    assert [type(e) for e in events] == [Token, WordStarted, WordEnded, Token, WordStarted, WordEnded]


def test_a_word_without_a_marker_begins_at_its_first_piece() -> None:
    (word,) = words(hear(track((20, ["▁you"])), frames=60))
    assert word.start == (20 - D) / 12.5


def test_a_word_without_a_marker_ends_the_one_before() -> None:
    (hello, you) = words(hear(track((17, [MARK, "▁hel", "lo"]), (30, ["▁you"])), frames=60))
    assert hello.stop == you.start == (30 - D) / 12.5


def test_a_word_begins_at_the_last_marker_however_long_ago() -> None:
    (word,) = words(hear(track((10, [MARK]), (17, [MARK]), (200, ["▁you"])), frames=300))
    assert word.start == (18 - D) / 12.5


def test_a_marker_counts_for_one_word_only() -> None:
    (_, you) = words(hear(track((17, [MARK, "▁I"]), (30, ["▁you"])), frames=60))
    assert you.start == (30 - D) / 12.5


def test_a_marker_right_after_the_last_piece_both_completes_and_ends_the_word() -> None:
    events = hear(track((17, [MARK, "▁I", MARK])), frames=60)
    assert [type(e) for e in events] == [Token, WordStarted, WordEnded]
    assert words(events)[0].stop == (20 - D) / 12.5


def test_padding_within_a_word_divides_it() -> None:
    events = hear(track((17, [MARK, "▁hel", PAD, "lo"])), frames=60)
    assert started(events) == ["hel", "lo"]
    assert text(events) == "hello"


@pytest.mark.parametrize("token", [1, 2, ID["<unk>"], len(PROFILE.pieces), 50_000])
def test_a_reserved_or_unknown_token_neither_prints_nor_divides(token: int) -> None:
    (word,) = words(hear(track((17, [MARK, "▁hel", token, "lo"])), frames=60))
    assert word == Word("hello", (18 - D) / 12.5, near(1.96), near(0.5))


@pytest.mark.parametrize("token", [0, 1, 2, 3])
def test_the_reserved_tokens_do_not_print_whatever_the_tokenizer_calls_them(token: int) -> None:
    assert text(hear([PAD] * 10 + [token], frames=20, model=profile(pieces="ABCDE"))) == ""


def test_text_is_ready_to_be_concatenated() -> None:
    events = hear(track((10, [MARK, "▁I", "'m", PAD, "▁you", "▁hel", "lo"])), frames=60)
    assert [e.text for e in events if isinstance(e, Token)] == ["I", "'m", " you", " hel", "lo"]


def test_a_lone_word_mark_first_in_the_stream_gives_no_space() -> None:
    events = hear(track((10, [MARK, "▁", "a"])), frames=60)
    assert (text(events), started(events)) == ("a", ["a"])


def test_a_lone_word_mark_is_no_word() -> None:
    assert words(hear(track((10, [MARK, "▁", PAD])), frames=60)) == []


def test_a_lone_word_mark_does_not_date_the_text_after_it() -> None:
    events = hear(track((10, [MARK, "▁", PAD]), (20, [MARK, "▁you"])), frames=60)
    assert events[0] == Token("you", (21 - D) / 12.5)


def test_byte_pieces_are_decoded_as_utf8() -> None:
    events = hear(track((10, [MARK, "▁I"]), (20, [MARK, "▁", "<0xE2>", "<0x82>", "<0xAC>", "a"])), frames=60)
    assert started(events) == ["I", "€a"]
    assert [e.text for e in events if isinstance(e, Token)] == ["I", " ", "€", "a"]


def test_a_character_begins_with_its_first_byte() -> None:
    events = hear(track((10, [MARK, "▁b", "<0xE2>", "<0x82>", "<0xAC>"])), frames=60)
    assert Token("€", (12 - D) / 12.5) in events


@pytest.mark.parametrize("after", [[PAD], ["▁you"], ["a"], [MARK]])
def test_an_incomplete_character_reads_as_the_replacement_character(after: list[int | str]) -> None:
    events = hear(track((10, [MARK, "▁b", "<0xE2>", *after])), frames=60)
    assert started(events)[0].startswith("b\ufffd")
    assert text(events).split() == ["".join(started(events)[:1]), *started(events)[1:]]


def test_confidence_is_the_geometric_mean_over_the_pieces() -> None:
    session = SttSession(PROFILE)
    session.push(audio(20))
    session.end()
    probability = {11: 0.9, 12: 0.4}
    tokens = track((10, [MARK, "▁hel", "lo"]))
    events = Engine(session, tokens, logprob=lambda index: math.log(probability.get(index, 0.01))).run()
    assert words(events)[0].confidence == near(math.sqrt(0.9 * 0.4))


def test_confidence_is_at_most_one() -> None:
    session = SttSession(PROFILE)
    session.push(audio(20))
    session.end()
    events = Engine(session, track((10, ["▁you"])), logprob=always(1e-7)).run()
    assert words(events)[0].confidence == 1


def test_tokens_before_the_delay_are_ignored() -> None:
    """n = j + 1 < D: index 4 does not count, index 5 is the first that does."""
    assert words(hear(track((1, [MARK, "▁I", "▁you", "▁b"])), frames=60)) == []
    (word,) = words(hear(track((4, ["▁you", "▁b"])), frames=60))
    assert (word.text, word.start) == ("b", 0)


def test_the_delay_is_rounded_down_to_frames() -> None:
    model = profile(delay_seconds=2.5)  # 31.25 frames
    (word,) = words(hear(track((40, [MARK, "▁you"])), frames=60, model=model))
    assert word.start == (41 - 31) / 12.5


@pytest.mark.parametrize(("delay", "start"), [(0.0, 5.0), (0.08, 4.0), (0.16, 3.0)])
def test_a_model_with_hardly_a_delay_marks_the_next_frame(delay: float, start: float) -> None:
    (word,) = words(hear(track((4, [MARK, "▁you"])), frames=60, model=profile(delay_seconds=delay)))
    assert word.start == start / 12.5


def test_a_marker_points_no_further_than_the_audio() -> None:
    session = SttSession(profile(delay_seconds=0.0))
    session.push(audio(60))
    events = Engine(session, track((4, [MARK, "▁you", MARK]))).run(6)
    assert words(events)[0].stop == 6 / 12.5


def test_a_short_last_word_lasts_a_second_at_most() -> None:
    (word,) = words(hear(track((10, [MARK, "▁you"])), frames=60))
    assert word.stop == near(word.start + 1)


def test_a_long_last_word_lasts_as_long_as_its_pieces() -> None:
    (word,) = words(hear(track((10, [MARK, "▁b", *["c"] * 24])), frames=60))
    assert word.stop == near(word.start + 25 * 0.08)


def test_the_last_word_lasts_no_longer_than_the_audio() -> None:
    (word,) = words(hear(track((17, [MARK, "▁you"])), frames=20.5))
    assert word.stop == 1.64


def test_a_word_without_end_is_divided_so_that_memory_stays_bounded() -> None:
    events: list[Event] = hear(track((10, ["a"] * (2 * MAX_PIECES + 5))), frames=600)
    assert [len(word.text) for word in words(events)] == [MAX_PIECES, MAX_PIECES, 5]
