"""Pauses and turns (spec §3.6)."""

from __future__ import annotations

import pytest

from vivavoce.core import CheckpointError, TurnEnded, UnsupportedError, Vad
from vivavoce.session import SttSession

from .driver import MARK, PROFILE, Engine, always, audio, profile, track

LISTENING = profile(vad_heads=4)


def turns(pause: set[int], *said: tuple[int, list[int | str]], head: int = 2) -> list[float]:
    """Times of the turns' ends in 40 frames of audio where that head sees a pause at those text indices."""
    session = SttSession(LISTENING, vad_head=head)
    session.push(audio(40))
    vad = lambda index: [float(h == head and index in pause) for h in range(4)]  # noqa: E731
    return [e.time for e in Engine(session, track(*said), vad).run() if isinstance(e, TurnEnded)]


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
    assert not [e for e in engine.run() if isinstance(e, Vad | TurnEnded)]
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
