"""Loudness tells when somebody speaks: laws over any audio, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce import audio
from vivavoce.session.activity import Began, Stopped, VoiceActivity

from ..example import EXAMPLE

SECOND = 24_000
NOISE = np.random.default_rng(0).normal(0, 1, 20 * SECOND).astype(np.float32)


def events(samples: np.ndarray, cuts: list[int], **how: float) -> list[Began | Stopped]:
    activity = VoiceActivity(**how)  # type: ignore[arg-type]
    return [event for piece in np.split(samples, sorted(cuts)) for event in activity.push(piece)]


def speech(seconds: float) -> np.ndarray:
    return audio.load(EXAMPLE)[SECOND : round((1 + seconds) * SECOND)]


def test_speech_begins_where_it_is_heard_and_stops_after_the_silence_that_was_asked_for() -> None:
    samples = np.concatenate([0.001 * NOISE[: 2 * SECOND], speech(1.0), 0.001 * NOISE[: 3 * SECOND]])
    began, stopped = events(samples, [], silence=0.8)
    assert isinstance(began, Began)
    assert 2 * SECOND - 960 <= began.start < began.known < 3 * SECOND
    assert isinstance(stopped, Stopped)
    assert 3.6 * SECOND < stopped.known <= 3.9 * SECOND


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 5 * SECOND), max_size=20), silence=st.floats(0.05, 2))
def test_how_the_audio_is_cut_changes_nothing(cuts: list[int], silence: float) -> None:
    samples = np.concatenate([speech(1.5), np.zeros(2 * SECOND, np.float32), speech(1.0)])
    assert events(samples, cuts, silence=silence) == events(samples, [], silence=silence)


@settings(max_examples=30, deadline=None)
@given(level=st.floats(1e-4, 0.3))
def test_noise_that_stays_as_loud_as_it_is_ends_being_speech(level: float) -> None:
    heard = events((level * NOISE).astype(np.float32), [])
    assert len(heard) in (0, 2)  # before there is a notion of noise it may be taken for speech


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_a_higher_threshold_needs_louder_audio(threshold: float) -> None:
    whisper = 0.1 * speech(2.0)
    assert bool(events(whisper, [], threshold=threshold)) == (threshold < 1)


def test_beginnings_and_stops_take_turns() -> None:
    heard = events(audio.load(EXAMPLE), [], silence=0.3)
    kinds = [type(event) for event in heard]
    assert kinds[::2] == [Began] * len(kinds[::2])
    assert kinds[1::2] == [Stopped] * len(kinds[1::2])
    assert len(kinds) > 4
