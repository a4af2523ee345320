"""A flush is answered once, after the last word said before it, whatever happens (spec §3.5)."""

from __future__ import annotations

from vivavoce.core import Flushed, Token, TurnEnded, Vad, WordEnded, WordStarted
from vivavoce.session import SttSession

from .driver import MARK, PROFILE, D, Engine, always, audio, profile, started, track, words


def flushed_at(engine: Engine) -> dict[int, list[Flushed]]:
    """By text index, the flushes answered there."""
    steps: dict[int, list[Flushed]] = {}
    while events := [engine.run(1)] if engine.session.pending else []:
        if answers := [event for event in events[0] if isinstance(event, Flushed)]:
            steps[engine.index] = answers
    return steps


def test_a_flush_is_answered_after_the_delay_and_two_silent_frames() -> None:
    session = SttSession(PROFILE)
    session.push(audio(10))
    session.flush("a")
    assert flushed_at(Engine(session)) == {10 + D + 2: [Flushed("a")]}


def test_a_flush_pads_the_partial_frame() -> None:
    session = SttSession(PROFILE)
    session.push(audio(9.1))
    session.flush("a")
    assert flushed_at(Engine(session)) == {10 + D + 2: [Flushed("a")]}


def test_a_flush_without_audio_is_answered() -> None:
    session = SttSession(PROFILE)
    session.flush(7)
    assert flushed_at(Engine(session)) == {D + 2: [Flushed(7)]}


def test_a_flush_follows_the_silence_prefix() -> None:
    session = SttSession(profile(silence_prefix_seconds=1.0))
    session.flush(7)
    assert flushed_at(Engine(session)) == {13 + D + 2: [Flushed(7)]}


def test_several_flushes_are_answered_in_order_and_once_each() -> None:
    session = SttSession(PROFILE)
    for name in ("a", 2, "a"):
        session.flush(name)
    session.push(audio(3))
    session.flush("d")
    session.end()
    assert Engine(session).run() == [Flushed("a"), Flushed(2), Flushed("a"), Flushed("d")]
    assert session.finished


def test_a_flush_closes_the_word_whose_pieces_are_still_coming() -> None:
    session = SttSession(PROFILE)
    session.push(audio(10))
    session.flush("a")
    events = Engine(session, track((10 + D, [MARK, "▁you", "a"]))).run()
    assert [type(e) for e in events] == [Token, Token, WordStarted, WordEnded, Flushed]
    assert words(events)[0].start == words(events)[0].stop == 0.8


def test_a_flush_ends_the_word_whose_stop_is_unknown() -> None:
    session = SttSession(PROFILE)
    session.push(audio(30))
    session.flush("a")
    (word,) = words(Engine(session, track((10, [MARK, "▁you"]))).run())
    assert (word.start, word.stop) == (0.4, 1.4)


def test_nothing_more_is_said_of_a_word_after_its_flush() -> None:
    session = SttSession(PROFILE)
    session.push(audio(10))
    session.flush("a")
    session.push(audio(30))
    engine = Engine(session, track((10, [MARK, "▁I"]), (35, [MARK, "▁you"])))
    events = engine.run()
    after = events[events.index(Flushed("a")) + 1 :]
    assert [type(e) for e in after] == [Token, WordStarted]
    assert started(events) == ["I", "you"]


def test_audio_after_a_flush_waits_behind_it() -> None:
    session = SttSession(PROFILE)
    session.push(audio(1))
    session.flush("a")
    session.push(audio(2))
    frames = [session.take() for _ in range(session.pending)]
    assert [bool(frame.any()) for frame in frames] == [True, *[False] * 8, True, True]


def test_a_flush_comes_after_every_other_event_of_its_step() -> None:
    session = SttSession(profile(vad_heads=4))
    session.push(audio(10))
    session.flush("a")
    engine = Engine(session, track((10 + D, [MARK, "▁you"])), vad=always((0.9,) * 4))
    *_, vad, started_, ended, turn, flushed = engine.run()
    assert [type(e) for e in (vad, started_, ended, turn, flushed)] == [Vad, WordStarted, WordEnded, TurnEnded, Flushed]


def test_the_end_of_the_stream_closes_every_word_and_answers_nobody() -> None:
    session = SttSession(PROFILE)
    session.push(audio(10))
    session.end()
    events = Engine(session, track((10 + D, [MARK, "▁you", "a"]))).run()
    assert [type(e) for e in events] == [Token, Token, WordStarted, WordEnded]
