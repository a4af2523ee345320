"""Times are the caller's: inserted silence takes no time."""

from __future__ import annotations

import pytest

from vivavoce.core import SAMPLE_RATE
from vivavoce.session import SttSession

from .driver import MARK, PROFILE, D, Engine, audio, hear, profile, track, words


def test_the_silence_prefix_is_before_time_zero() -> None:
    model = profile(silence_prefix_seconds=1.0)  # 13 frames
    (early, late) = words(hear(track((13, [MARK, "▁I"]), (30, [MARK, "▁you"])), frames=60, model=model))
    assert early.start == 0
    assert early.stop == late.start == pytest.approx((31 - D - 13) / 12.5)


def test_the_silence_prefix_is_rounded_up_to_frames_but_not_past_a_whole_one() -> None:
    # 12.5 x 0.56 is 7.000000000000001 in floating point
    assert [profile(silence_prefix_seconds=s).prefix_frames for s in (0, 0.01, 0.08, 0.56, 1.0)] == [0, 1, 1, 7, 13]


def test_the_delay_is_a_whole_frame_when_only_rounding_makes_it_less() -> None:
    # 12.5 x 2.32 is 28.999999999999996 in floating point
    assert profile(delay_seconds=2.32).delay_frames == 29


def test_the_clock_goes_on_after_a_flush_as_if_there_had_been_no_silence() -> None:
    session = SttSession(PROFILE)
    session.push(audio(10))
    session.flush("a")  # 8 silent frames: stepped frames 10 to 17
    session.push(audio(30))
    engine = Engine(session, track((D + 20, [MARK, "▁you", MARK])))
    assert words(engine.run())[0].start == pytest.approx((21 - 8) / 12.5)


def test_a_padded_frame_counts_for_the_samples_that_were_pushed() -> None:
    session = SttSession(PROFILE)
    session.push(audio(10)[: 9 * 1920 + 77])
    session.flush("a")
    session.push(audio(30))
    engine = Engine(session, track((D + 20, [MARK, "▁you", MARK])))
    assert words(engine.run())[0].start == (9 * 1920 + 77 + 3 * 1920) / SAMPLE_RATE


@pytest.mark.parametrize("into_silence", range(8))
def test_a_time_within_inserted_silence_is_where_the_silence_was_inserted(into_silence: int) -> None:
    session = SttSession(PROFILE)
    session.push(audio(9.5))
    session.flush("a")
    session.push(audio(30))
    engine = Engine(session, track((D + 9 + into_silence, [MARK, "▁you", MARK])))
    assert words(engine.run())[0].start == 9.5 * 0.08


def test_a_marker_before_a_flush_does_not_date_a_word_after_it() -> None:
    session = SttSession(PROFILE)
    session.push(audio(10))
    session.flush("a")
    session.push(audio(30))
    session.end()
    (word,) = words(Engine(session, track((D + 2, [MARK]), (D + 25, ["▁you"]))).run())
    assert word.start == pytest.approx((25 - 8) / 12.5)


def test_an_hour_of_audio_is_timed_to_the_sample() -> None:
    session = SttSession(PROFILE)
    engine = Engine(session, track((45_000, [MARK, "▁you", MARK])))
    for _ in range(450):
        session.push(audio(100.5))
        session.push(audio(1)[:960])
        engine.run()
        engine.frames.clear()
    assert words(engine.events)[0].start == (45_001 - D) * 1920 / SAMPLE_RATE
