"""Pauses and turns (spec §3.6)."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from vivavoce.core import (
    PAUSE_SECONDS,
    CheckpointError,
    Event,
    Token,
    TurnEnded,
    TurnResumed,
    TurnStarted,
    UnsupportedError,
    Vad,
    Word,
    WordEnded,
    WordStarted,
)
from vivavoce.session import SttSession
from vivavoce.session.turns import Turns

from .driver import MARK, PROFILE, Engine, always, audio, law, profile, track

LISTENING = profile(vad_heads=4)


def turns(pause: set[int], *said: tuple[int, list[int | str]], head: int = 2) -> list[float]:
    """Times of the turns' ends in 40 frames of audio where that head sees a pause at those text indices."""
    return [event.time for event in told(pause, *said, head=head) if isinstance(event, TurnEnded)]


def told(pause: set[int], *said: tuple[int, list[int | str]], head: int = 2, frames: int = 40) -> list[Event]:
    """Events in so many frames of audio where that head sees a pause at those text indices, without the Vads."""
    session = SttSession(LISTENING, vad_head=head)
    session.push(audio(frames))
    vad = lambda index: [float(h == head and index in pause) for h in range(4)]  # noqa: E731
    return [event for event in Engine(session, track(*said), vad).run() if not isinstance(event, Vad)]


def of_turns(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, TurnStarted | TurnEnded | TurnResumed)]


def test_every_step_tells_the_pauses_seen_at_the_audio_so_far() -> None:
    session = SttSession(LISTENING)
    session.push(audio(2))
    assert Engine(session, vad=lambda index: [0.25 * index] * 4).run() == [
        Vad(0.08, (0.25,) * 4),
        Vad(0.16, (0.5,) * 4),
    ]


def test_inserted_silence_is_heard_at_the_time_it_was_inserted() -> None:
    session = SttSession(profile(vad_heads=1, silence_prefix_seconds=0.08), vad_head=0)
    session.push(audio(1.5))
    session.end()
    events = Engine(session, vad=always([0.0])).run()
    assert [e.time for e in events if isinstance(e, Vad)] == [0, 0.08, *[0.12] * 9]


def test_a_pause_after_a_word_ends_the_turn() -> None:
    assert turns({20}, (10, [MARK, "▁you"])) == [1.6]


def test_a_turn_ends_once() -> None:
    assert turns(set(range(20, 40)), (10, [MARK, "▁you"])) == [1.6]


def test_a_word_of_the_ended_turn_that_is_told_late_does_not_end_it_again() -> None:
    """Heads lead the text: at 14 the pause is seen, at 17 comes a word that was said before it."""
    assert turns(set(range(14, 40)), (10, [MARK, "▁you"]), (16, [MARK, "▁you"])) == [1.12]


def test_the_next_word_begins_another_turn() -> None:
    assert turns({20, 21, 35, 36}, (10, [MARK, "▁you"]), (30, [MARK, "▁I"])) == [1.6, 2.8]


def test_a_pause_before_any_word_ends_nothing() -> None:
    assert turns(set(range(11)), (10, [MARK, "▁you"])) == []


def test_a_word_counts_when_it_is_complete() -> None:
    assert turns({11}, (10, [MARK, "▁you"])) == []
    assert turns({12}, (10, [MARK, "▁you"])) == [0.96]


def test_a_turn_starts_with_the_first_piece_of_its_first_word() -> None:
    """Told before the piece, and only once, however many words follow."""
    events = told(set(), (10, [MARK, "▁hel", "lo"]), (20, [MARK, "▁you"]))
    assert events[:3] == [TurnStarted(0.4), Token("hel", 0.4), Token("lo", 0.48)]
    assert of_turns(events) == [TurnStarted(0.4)]


def test_a_word_within_the_pause_that_the_head_expected_resumes_the_turn() -> None:
    """Head 0 expects half a second: 1.6 to 2.1 s."""
    resumed = told({20}, (10, [MARK, "▁you"]), (30, [MARK, "▁I"]), head=0)
    assert of_turns(resumed) == [TurnStarted(0.4), TurnEnded(1.6), TurnResumed(2.0)]
    another = told({20}, (10, [MARK, "▁you"]), (32, [MARK, "▁I"]), head=0)
    assert of_turns(another) == [TurnStarted(0.4), TurnEnded(1.6), TurnStarted(2.16)]


def test_a_longer_pause_is_waited_for_when_a_longer_one_was_expected() -> None:
    events = told({20}, (10, [MARK, "▁you"]), (49, [MARK, "▁I"]), head=2, frames=60)
    assert of_turns(events) == [TurnStarted(0.4), TurnEnded(1.6), TurnResumed(3.52)]


def test_a_word_that_was_said_before_the_pause_and_is_told_late_neither_resumes_nor_starts() -> None:
    events = told({14}, (10, [MARK, "▁you"]), (16, [MARK, "▁hel", "lo"]), (25, [MARK, "▁I"]))
    assert of_turns(events) == [TurnStarted(0.4), TurnEnded(1.12), TurnResumed(1.6)]


def test_a_turn_that_was_resumed_ends_again() -> None:
    events = told({20, 35}, (10, [MARK, "▁you"]), (30, [MARK, "▁I"]))
    assert of_turns(events) == [TurnStarted(0.4), TurnEnded(1.6), TurnResumed(2.0), TurnEnded(2.8)]


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[float, float, list[Event]]]:
    """(time, pause, words) of steps: words of one or two pieces, told up to a second late, in order."""
    found, said, growing = list[tuple[float, float, list[Event]]](), 0.0, ""
    for index in range(draw(st.integers(1, 60))):
        now, words = 0.08 * index, list[Event]()
        match draw(st.sampled_from("      wwwp")):
            case "w":
                start = max(said, now - draw(st.floats(0, 1)))
                if growing:
                    words += [WordStarted(growing, said, 1.0), WordEnded(Word(growing, said, start, 1.0))]
                said, growing = start, "a"
                words.append(Token(" a", start))
            case "p" if growing:
                growing += "b"
                words.append(Token("b", max(said, now - 0.1)))
            case " " if growing:
                words.append(WordStarted(growing, said, 1.0))
                growing = ""
        found.append((now, draw(st.sampled_from([0.0, 0.4, 0.6, 1.0])), words))
    return found


@law(steps(), st.integers(0, 3))
def test_every_end_follows_a_start_and_every_resumption_an_end_within_the_expected_pause(
    told: list[tuple[float, float, list[Event]]], head: int
) -> None:
    turns = Turns(4, head, 0.5)
    events = [event for time, pause, words in told for event in turns.follow(time, [pause] * 4, words)]
    ended: float | None = None
    open_ = False
    for event in of_turns(events):
        match event:
            case TurnEnded(time):
                assert open_
                ended, open_ = time, False
            case TurnResumed(time):
                assert not open_
                assert ended is not None
                assert ended <= time < ended + PAUSE_SECONDS[head]
                open_ = True
            case TurnStarted(time):
                assert not open_
                assert ended is None or time >= ended + PAUSE_SECONDS[head]
                open_ = True
    starts = {event.start for event in events if isinstance(event, Token)}
    assert all(event.time in starts for event in of_turns(events) if not isinstance(event, TurnEnded))


@law(steps(), st.integers(0, 3))
def test_who_is_not_told_the_pauses_is_told_all_else(told: list[tuple[float, float, list[Event]]], head: int) -> None:
    aloud, quiet = Turns(4, head, 0.5), Turns(4, head, 0.5, tells=False)
    for time, pause, words in told:
        [vad, *others] = aloud.follow(time, [pause] * 4, words)
        assert vad == Vad(time, (pause,) * 4)
        assert quiet.follow(time, [pause] * 4, words) == others


def test_another_head_may_be_watched() -> None:
    assert turns({20}, (10, [MARK, "▁you"]), head=0) == [1.6]


def test_the_threshold_itself_is_not_a_pause() -> None:
    session = SttSession(profile(vad_heads=1), vad_head=0, vad_threshold=0.75)
    session.push(audio(30))
    events = Engine(session, track((10, ["▁you"])), vad=lambda index: [0.76 if index == 25 else 0.75]).run()
    assert [e for e in events if isinstance(e, TurnEnded)] == [TurnEnded(2.0)]


def test_a_model_without_heads_sees_neither_pauses_nor_turns_but_tells_every_step() -> None:
    session = SttSession(PROFILE)
    session.push(audio(40))
    engine = Engine(session, track((10, [MARK, "▁you"])))
    assert not [e for e in engine.run() if isinstance(e, Vad | TurnStarted | TurnEnded | TurnResumed)]
    assert engine.ticks == 40


@pytest.mark.parametrize("head", [-1, 4])
def test_a_head_that_the_model_does_not_have_is_refused(head: int) -> None:
    with pytest.raises(UnsupportedError, match=f"vad_head {head} does not exist: this model has heads 0 to 3"):
        SttSession(LISTENING, vad_head=head)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(UnsupportedError, match="vad_threshold"):
        SttSession(LISTENING, vad_threshold=threshold)


@pytest.mark.parametrize("field", ["delay_seconds", "silence_prefix_seconds"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_model_with_an_impossible_duration_is_refused(field: str, value: float) -> None:
    with pytest.raises(CheckpointError, match=field):
        profile(**{field: value})
