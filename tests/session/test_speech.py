"""A stream that speaks: its words, its audio, its end, and how it survives an engine's."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import strategies as st

from vivavoce.core import FRAME_SIZE, Flushed, Speech, VivavoceError, WordSpoken
from vivavoce.engine import TtsOptions
from vivavoce.session import ScriptState, TtsProfile
from vivavoce.session.speech import AHEAD

from .driver import law
from .speaker import DEP_Q, HISTORY, PROFILE, Speaker, encode, frames, sample, say, session, told, words

BITS = st.sampled_from(["a", "word", "longer-one", " ", " ", '<break time="0.3s"/>', "...", "é", "<"])
TEXTS = st.lists(BITS, max_size=15).map("".join)
SAMPLED = st.lists(st.sampled_from([0, 3, 3, 9]), min_size=1, max_size=7)
PROFILES = st.builds(
    TtsProfile,
    text_card=st.just(40),
    delay_steps=st.sampled_from([0, 3, 16]),
    acoustic_delay=st.sampled_from([0, 2]),
    lookahead=st.sampled_from([0, 2]),
    initial_padding=st.sampled_from([0, 2]),
)


@law(TEXTS, SAMPLED, PROFILES)
def test_every_word_is_told_once_in_order_with_its_place_in_the_audio(
    text: str, sampled: list[int], profile: TtsProfile
) -> None:
    events = say(text, sampled, profile)
    said = words(events)
    assert [word.text for word in said] == text.replace('<break time="0.3s"/>', " ").split()
    for word in said:
        assert 0 <= word.start < word.stop <= len(frames(events)) * 0.08
    for word, following in pairwise(said):
        assert word.stop <= following.start


@law(TEXTS, SAMPLED, PROFILES)
def test_the_audio_is_all_that_the_model_gave_up_to_its_end(text: str, sampled: list[int], profile: TtsProfile) -> None:
    stream = session(profile)
    stream.push(text)
    stream.end()
    speaker = Speaker(stream, sampled, profile)
    given = frames(speaker.run())
    assert given == pytest.approx([sample(0, frame) for frame in range(len(given))])
    if text.split():
        assert len(given) == (speaker.machine.state.end_step or 0) + profile.final_padding
    else:
        assert given == []


@law(TEXTS, SAMPLED, PROFILES, st.data())
def test_the_events_do_not_depend_on_cuts_of_the_text_nor_on_when_it_came(
    text: str, sampled: list[int], profile: TtsProfile, data: st.DataObject
) -> None:
    stream = session(profile)
    speaker = Speaker(stream, sampled, profile)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    for begin, end in zip([0, *cuts], [*cuts, len(text)]):
        stream.push(text[begin:end])
        speaker.run(data.draw(st.integers(0, 12)))
    stream.end()
    speaker.run()
    assert stream.finished
    assert told(speaker.events) == told(say(text, sampled, profile))


@law(TEXTS, SAMPLED, PROFILES, st.data())
def test_no_audio_is_lost_and_none_repeated_when_engines_die(
    text: str, sampled: list[int], profile: TtsProfile, data: st.DataObject
) -> None:
    stream = session(profile)
    speaker = Speaker(stream, sampled, profile)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4).map(sorted))
    for begin, end in zip([0, *cuts], [*cuts, len(text)]):
        stream.push(text[begin:end])
        speaker.run(data.draw(st.integers(0, 12)))
        if data.draw(st.booleans()):
            speaker = speaker.crash()
            speaker.run(data.draw(st.integers(0, 12)))
    stream.end()
    speaker.run(data.draw(st.integers(0, 30)))
    speaker = speaker.crash()
    speaker.run()
    assert stream.finished
    assert told(speaker.events) == told(say(text, sampled, profile))


def test_words_have_the_times_of_the_reference() -> None:
    """A word taken at step s is at frame s of the audio (spec §4.3); the last one stops where the text ran out."""
    profile = replace(PROFILE, lookahead=0, padding_between=0)
    assert words(say("Hi you", sampled=[3], profile=profile)) == [  # 2 steps first; 8 of padding after a word
        WordSpoken("Hi", pytest.approx(2 * 0.08), pytest.approx(11 * 0.08)),
        WordSpoken("you", pytest.approx(11 * 0.08), pytest.approx(20 * 0.08)),
    ]


def test_a_word_stops_where_a_break_begins() -> None:
    hello, world = words(say('Hello <break time="0.8s"/> world', sampled=[0]))
    assert world.start - hello.stop == pytest.approx(0.80)


def test_a_word_is_told_before_the_audio_of_the_step_that_ended_it() -> None:
    events = say("One two three", sampled=[0])
    at = [number for number, event in enumerate(events) if isinstance(event, WordSpoken)]
    assert all(isinstance(events[number + 1], Speech) for number in at if number)


def test_samples_are_kept_within_what_a_player_takes() -> None:
    stream = session()
    loud = np.linspace(-3, 3, FRAME_SIZE, dtype=np.float32)
    stream.push("a ")
    stream.take()
    (speech,) = stream.stepped(0, 3, None, loud, ScriptState(1, 1, steps=1))
    assert isinstance(speech, Speech)
    assert (speech.samples.min(), speech.samples.max()) == (np.float32(-0.99), np.float32(0.99))
    assert speech.samples.dtype == np.float32
    assert speech.samples is not loud


@pytest.mark.parametrize("text", ["", "  \n", "()", ":"])
def test_a_stream_without_a_word_ends_without_audio(text: str) -> None:
    stream = session()
    stream.push(text)
    assert not stream.finished
    stream.end()
    assert stream.finished
    assert not stream.pending


@pytest.mark.parametrize("text", ["a", "...", "Donaudampfschifffahrt", "-", '<break time="1s"/>'])
def test_one_entry_is_spoken_to_its_end(text: str) -> None:
    events = say(text)
    assert [word.text for word in words(events)] == ([] if text.startswith("<") else [text])
    assert len(frames(events)) > PROFILE.final_padding


def test_ten_thousand_words_are_spoken() -> None:
    said = [f"w{number}" for number in range(10_000)]
    assert [word.text for word in words(say(" ".join(said), sampled=[0]))] == said


def test_the_engine_holds_a_part_of_a_long_text_at_a_time() -> None:
    stream = session()
    stream.push('word <break time="0.1s"/>' * 1000)
    stream.end()
    script = stream.take()
    assert sum(bool(entry.text) for entry in script.entries) == AHEAD
    assert not script.ended
    assert not stream.pending
    stream.rewind()
    speaker = Speaker(stream, sampled=[0])
    most = 0
    while not stream.finished:
        speaker.run(1)
        most = max(most, len(speaker.machine._waiting))
    assert len(words(speaker.events)) == 1000
    assert most <= 2 * AHEAD


def test_breaks_without_end_between_words_do_not_stop_a_stream() -> None:
    events = say("One" + '<break time="0.1s"/>' * 500 + " two three four", sampled=[0])
    assert [word.text for word in words(events)] == ["One", "two", "three", "four"]


def test_nothing_is_spoken_before_the_look_ahead_is_known() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[0])
    stream.push("One two thr")
    assert speaker.run() == []
    assert stream.waiting == 2
    stream.push("ee ")
    speaker.run()
    assert stream.waiting == 2
    stream.end()
    assert [word.text for word in words(speaker.run())] == ["One", "two", "three"]


def test_text_after_the_end_is_refused() -> None:
    stream = session()
    stream.end()
    with pytest.raises(VivavoceError, match="no text is taken after end"):
        stream.push("late")
    stream.end()


def test_what_is_no_text_is_refused_and_changes_nothing() -> None:
    stream = session()
    stream.push("Hel")
    with pytest.raises(VivavoceError, match="speaker must be"):
        stream.push("x", speaker=3)
    stream.push("lo")
    stream.end()
    assert [word.text for word in words(Speaker(stream).run())] == ["Hello"]


def test_history_is_the_newest_tokens_and_columns() -> None:
    stream = session()
    stream.push("One two three four")
    stream.end()
    speaker = Speaker(stream)
    speaker.run(20)
    snapshot = stream.history.snapshot(TtsOptions(seed=7))
    assert snapshot.steps == 20
    assert snapshot.options.seed == 7
    assert snapshot.codes.tolist() == [[step] * DEP_Q for step in range(20 - HISTORY, 20)]
    twin = Speaker(twin_session := session())
    twin_session.push("One two three four")
    twin_session.end()
    twin.listen()
    assert snapshot.tokens.tolist() == [twin.machine.act((3, 0, 3)[at % 3]) for at in range(20)][-HISTORY:]
    assert pickle.loads(pickle.dumps(snapshot)).codes.tolist() == snapshot.codes.tolist()


def test_steps_without_codes_are_marked_in_the_history() -> None:
    stream = session()
    stream.push("One two three")
    stream.end()
    Speaker(stream).run(5)
    assert stream.history.snapshot(TtsOptions()).codes[:, 0].tolist() == [-1, -1, -1, 3, 4]


# --- barge-in ---


def test_clear_drops_what_was_not_spoken_and_speaks_what_comes_next() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[0])
    stream.push("One two three four five six")
    speaker.run(12)
    heard = len(frames(speaker.events))
    stream.clear()
    stream.push("new words here")
    stream.end()
    events = speaker.run()
    assert stream.finished
    assert frames(events) == pytest.approx([sample(1, frame) for frame in range(len(frames(events)))])
    assert [word.text for word in words(events)] == ["new", "words", "here"]
    assert words(events)[0].start == pytest.approx((heard + 2) * 0.08)


def test_steps_that_were_under_way_at_a_clear_are_not_heard() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[0])
    stream.push("One two three four five six")
    speaker.run(8)
    stream.clear()
    before = len(speaker.events)
    assert speaker.step()  # of what was said before
    assert speaker.events[before:] == []
    assert stream.state is None
    assert stream.history.steps == 0


def test_clear_tells_the_word_that_was_cut() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[3])  # 8 steps a word
    stream.push("One two three four ")
    speaker.run(9)
    assert words(speaker.events) == []
    (cut,) = stream.clear()
    assert cut == WordSpoken("One", pytest.approx(0.16), pytest.approx(stream.time))
    assert stream.clear() == []


def test_clear_says_nothing_of_a_word_that_was_not_heard() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[0])
    stream.push("One two three four")
    speaker.run(4)
    assert stream.state is not None
    assert stream.state.taken
    assert stream.clear() == []


def test_audio_that_was_dropped_before_anyone_heard_it_does_not_count() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[3])
    stream.push("One two three four ")
    speaker.run(9)
    assert stream.time == pytest.approx(4 * 0.08)
    assert stream.clear(unheard=3) == []  # "One" starts at 0.16
    assert stream.time == pytest.approx(0.08)
    stream.push("five")
    stream.end()
    (five,) = words(speaker.run())
    assert five.start == pytest.approx((1 + 2) * 0.08)


def test_clear_of_a_stream_that_has_said_nothing_begins_nothing_anew() -> None:
    stream = session()
    stream.push("hel")
    stream.clear()
    assert stream.epoch == 0
    stream.push("new")
    stream.end()
    assert [word.text for word in words(Speaker(stream).run())] == ["new"]


def test_clear_after_the_end_ends_the_stream() -> None:
    stream = session()
    speaker = Speaker(stream)
    stream.push("One two three four")
    stream.end()
    speaker.run(10)
    assert not stream.finished
    stream.clear()
    assert stream.finished
    assert speaker.run() == []


def test_clear_stops_the_engine_before_anything_else_is_said() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[0])
    stream.push("One two three four five six ")
    speaker.run(4)
    stream.clear()
    assert stream.pending
    assert speaker.run() == []
    assert (speaker.epoch, speaker.machine.state.steps) == (1, 0)


def test_clear_answers_the_flushes_that_wait() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[0])
    stream.push("One two three four")
    stream.flush("first")
    stream.push("five six")
    stream.flush("second")
    speaker.run(7)
    answers = [event for event in stream.clear() if isinstance(event, Flushed)]
    assert answers == [Flushed("first"), Flushed("second")]
    stream.push("new")
    stream.end()
    assert [word.text for word in words(speaker.run())] == ["new"]
    assert stream.finished


# --- flushes ---


@law(st.lists(TEXTS, min_size=1, max_size=4), SAMPLED, PROFILES, st.data())
def test_what_lies_between_flushes_is_spoken_as_texts_of_their_own(
    texts: list[str], sampled: list[int], profile: TtsProfile, data: st.DataObject
) -> None:
    """One behind the other on one clock, however the engines fare; and each flush is answered behind its audio."""
    stream = session(profile)
    speaker = Speaker(stream, sampled, profile)
    for number, text in enumerate(texts):
        stream.push(text)
        speaker.events += stream.flush(number)
        speaker.run(data.draw(st.integers(0, 40)))
        if data.draw(st.booleans()):
            speaker = speaker.crash()
    stream.end()
    speaker.run()
    assert stream.finished
    events = speaker.events
    answered = [number for number, event in enumerate(events) if isinstance(event, Flushed)]
    assert [events[at].id for at in answered] == list(range(len(texts)))  # type: ignore[union-attr]
    clock = 0.0
    for text, begin, end in zip(texts, [0, *(at + 1 for at in answered)], answered):
        part, alone = events[begin:end], say(text, sampled, profile)
        assert len(frames(part)) == len(frames(alone))
        assert [
            (word.text, pytest.approx(word.start - clock), pytest.approx(word.stop - clock)) for word in words(part)
        ] == [(word.text, word.start, word.stop) for word in words(alone)]
        clock += 0.08 * len(frames(part))


def test_a_flush_does_not_wait_for_the_look_ahead() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[0])
    stream.push("One tw")
    assert speaker.run() == []
    assert stream.flush("now") == []
    events = speaker.run()
    assert [word.text for word in words(events)] == ["One", "tw"]
    assert events[-1] == Flushed("now")
    assert not stream.finished
    assert stream.flush("again") == [Flushed("again")]  # all is said


def test_text_behind_a_flush_does_not_change_what_lies_before_it() -> None:
    stream = session()
    stream.push("One two")
    stream.flush(0)
    stream.push("three four five six seven")
    stream.end()
    events = Speaker(stream).run()
    before = events[: events.index(Flushed(0))]
    assert told(before) == told(say("One two"))


def test_flushes_of_nothing_behind_a_flush_are_answered_with_it() -> None:
    stream = session()
    speaker = Speaker(stream)
    stream.push("One")
    for number in range(3):
        assert stream.flush(number) == []
        stream.push(" ")
    assert stream.flushing == 3
    assert speaker.run()[-3:] == [Flushed(0), Flushed(1), Flushed(2)]
    assert stream.flushing == 0
    stream.end()
    assert stream.finished


def test_a_flush_after_the_end_is_refused() -> None:
    stream = session()
    stream.end()
    with pytest.raises(VivavoceError, match="no flush is taken after end"):
        stream.flush(0)


@law(st.lists(TEXTS, min_size=1, max_size=4), SAMPLED, st.data())
def test_audio_goes_on_across_clears_and_lost_engines(
    texts: list[str], sampled: list[int], data: st.DataObject
) -> None:
    stream = session()
    speaker = Speaker(stream, sampled)
    for text in texts:
        stream.push(text)
        speaker.run(data.draw(st.integers(0, 40)))
        if data.draw(st.booleans()):
            speaker = speaker.crash()
        speaker.events += stream.clear()
    stream.push("last words")
    stream.end()
    speaker.run()
    assert stream.finished
    assert stream.time == pytest.approx(len(frames(speaker.events)) * 0.08)
    said = words(speaker.events)
    assert [word.text for word in said[-2:]] == ["last", "words"]
    for word in said:
        assert word.start <= word.stop


def test_nothing_grows_with_the_length_of_the_stream() -> None:
    stream = session()
    speaker = Speaker(stream, sampled=[0, 3, 3])
    sizes = []
    for _ in range(300):
        stream.push("some words more and ")
        speaker.run()
        speaker.events.clear()
        sizes.append(len(pickle.dumps(stream)))
    assert max(sizes[150:]) <= max(sizes[:150]) + 64


def test_the_words_of_the_driver_are_in_its_vocabulary() -> None:
    assert max(encode("word é ...")) < PROFILE.text_card
