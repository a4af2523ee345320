"""What a caller may push, and the frames that come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vivavoce.core import FRAME_SIZE, InvalidAudioError, VivavoceError
from vivavoce.session import SttSession

from .driver import PROFILE, Engine, audio, profile


def test_audio_is_cut_into_frames_of_1920_samples() -> None:
    session = SttSession(PROFILE)
    session.push(audio(2.5))
    assert session.pending == 2
    np.testing.assert_array_equal(np.concatenate([session.take(), session.take()]), audio(2))


def test_a_frame_is_ready_with_its_last_sample() -> None:
    session = SttSession(PROFILE)
    session.push(audio(1)[:-1])
    assert session.pending == 0
    session.push(audio(1)[-1:])
    assert session.pending == 1


def test_no_samples_are_no_change() -> None:
    session = SttSession(PROFILE)
    session.push(np.zeros(0, np.float32))
    assert session.pending == 0


def test_a_frame_does_not_share_memory_with_the_caller() -> None:
    session = SttSession(PROFILE)
    chunk = audio(1)
    session.push(chunk)
    chunk[:] = 0
    np.testing.assert_array_equal(session.take(), audio(1))


def test_a_frame_that_is_kept_does_not_keep_the_chunk_it_came_in() -> None:
    session = SttSession(PROFILE)
    session.push(audio(100))
    assert session.take().base is None


def test_frames_may_be_written_to_without_harm() -> None:
    session = SttSession(profile(silence_prefix_seconds=0.16))
    session.take()[:] = 1
    assert not session.take().any()


def test_a_strided_view_is_audio_too() -> None:
    session = SttSession(PROFILE)
    session.push(np.repeat(audio(1), 2)[::2])
    np.testing.assert_array_equal(session.take(), audio(1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_refused_by_its_index(value: float) -> None:
    chunk = audio(1)
    chunk[17] = value
    chunk[18] = np.nan
    with pytest.raises(InvalidAudioError, match=rf"sample 17 of 1920 is {value}"):
        SttSession(PROFILE).push(chunk)


@pytest.mark.parametrize(
    ("samples", "seen"),
    [
        (np.zeros(4), "float64"),
        (np.zeros(4, np.int16), "int16"),
        (np.zeros(4, ">f4"), ">f4"),
        (np.zeros((1, 4), np.float32), r"float32 \[1, 4\]"),
        (np.float32(1), "float32"),
        ([0.0], "list"),
        (None, "NoneType"),
    ],
)
def test_another_type_or_shape_is_refused(samples: Any, seen: str) -> None:
    with pytest.raises(InvalidAudioError, match=f"1-D array of float32, got {seen}"):
        SttSession(PROFILE).push(samples)


def test_refused_audio_leaves_no_trace() -> None:
    session = SttSession(PROFILE)
    session.push(audio(0.5))
    with pytest.raises(InvalidAudioError):
        session.push(np.full(5000, np.nan, np.float32))
    session.push(audio(0.5))
    assert session.pending == 1
    np.testing.assert_array_equal(session.take(), np.tile(audio(0.5), 2))


def test_the_silence_prefix_is_ready_at_once_and_comes_first() -> None:
    session = SttSession(profile(silence_prefix_seconds=1.0))
    assert session.pending == 13  # 1.04 s, as the released scripts do
    session.push(audio(1))
    frames = [session.take() for _ in range(session.pending)]
    assert not np.any(frames[:13])
    np.testing.assert_array_equal(frames[13], audio(1))


def test_the_last_partial_frame_is_padded_with_zeros_and_silence_follows() -> None:
    session = SttSession(PROFILE)
    session.push(audio(1.25))
    session.end()
    engine = Engine(session)
    engine.run()
    sound = np.concatenate(engine.frames)
    assert len(sound) == (2 + 8) * FRAME_SIZE  # D + 2 = 8
    np.testing.assert_array_equal(sound[:2400], audio(1.25))
    assert not sound[2400:].any()


def test_after_the_end_audio_and_flushes_are_refused() -> None:
    session = SttSession(PROFILE)
    session.end()
    with pytest.raises(VivavoceError, match="ended"):
        session.push(audio(1))
    with pytest.raises(VivavoceError, match="ended"):
        session.flush(1)


def test_ending_twice_is_ending_once() -> None:
    session = SttSession(PROFILE)
    session.end()
    pending = session.pending
    session.end()
    assert session.pending == pending == 8


def test_a_stream_has_finished_when_its_last_step_came_back() -> None:
    session = SttSession(PROFILE)
    engine = Engine(session)
    assert not session.ended
    session.end()
    assert session.ended
    for _ in range(8):
        engine.take()
    assert session.pending == 0
    for _ in range(8):
        assert not session.finished
        engine.step()
    assert session.finished
