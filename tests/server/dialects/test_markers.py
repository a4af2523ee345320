"""When a marker comes back, told by events alone."""

from __future__ import annotations

import numpy as np

from vivavoce.core import FRAME_SIZE, Event, Token, Vad, Word, WordEnded, WordStarted
from vivavoce.server.dialects.moshi_markers import PATIENCE_FRAMES, Markers

D = 6
ZEROS, SPEECH = np.zeros(FRAME_SIZE, np.float32), np.ones(FRAME_SIZE, np.float32)


def echoes(markers: Markers, frames: int, said: dict[int, list[Event]] = {}) -> list[tuple[int, list[int]]]:  # noqa: B006
    """Steps of frames 1, 2, ... with these events: at which of them which ids come back."""
    found = []
    for frame in range(1, frames + 1):
        for event in [Vad(frame * 0.08, ()), *said.get(frame, ())]:
            markers.follow(event)
        _, ids = markers.due()
        if ids:
            found.append((frame, ids))
    return found


def test_it_comes_after_as_many_frames_as_the_text_lags_behind() -> None:
    markers = Markers(D)
    markers.add(1, 0)
    markers.add(2, 3 * FRAME_SIZE)
    markers.add(3, 3 * FRAME_SIZE + 1)
    markers.add(4, 4 * FRAME_SIZE - 1)
    markers.add(5, 4 * FRAME_SIZE)
    assert echoes(markers, 20) == [(6, [1]), (9, [2, 3, 4]), (10, [5])]


def test_it_waits_for_a_word_before_it_that_is_still_growing() -> None:
    markers = Markers(D)
    markers.add(1, 4 * FRAME_SIZE)
    said: dict[int, list[Event]] = {9: [Token("hel", 0.24)], 12: [WordStarted("hello", 0.24, 1.0)]}
    assert echoes(markers, 20, said) == [(12, [1])]


def test_it_does_not_wait_for_a_word_behind_it() -> None:
    markers = Markers(D)
    markers.add(1, 4 * FRAME_SIZE)
    assert echoes(markers, 20, {10: [Token("you", 0.4)]}) == [(10, [1])]


def test_it_does_not_wait_for_ever() -> None:
    markers = Markers(D)
    markers.add(1, 0)
    assert echoes(markers, 60, {1: [Token("a", -0.1)]}) == [(D + PATIENCE_FRAMES + 1, [1])]


def test_silence_behind_it_ends_the_last_word_and_the_models_later_end_is_not_told() -> None:
    markers = Markers(D)
    said = WordStarted("you", 0.16, 1.0)
    markers.follow(Vad(0.8, ()))
    markers.follow(Token("you", 0.16))
    markers.follow(said)
    markers.add(1, 10 * FRAME_SIZE)
    markers.audio(ZEROS)
    markers.follow(Vad(16 * 0.08, ()))
    assert markers.due() == (0.8, [1])
    assert not markers.follow(WordEnded(Word("you", 0.16, 9.0, 1.0)))
    markers.follow(WordStarted("two", 10.0, 1.0))
    assert markers.follow(WordEnded(Word("two", 10.0, 10.2, 1.0)))


def test_speech_behind_it_leaves_the_end_to_the_model() -> None:
    markers = Markers(D)
    markers.follow(WordStarted("you", 0.16, 1.0))
    markers.add(1, 10 * FRAME_SIZE)
    markers.audio(SPEECH)
    markers.follow(Vad(16 * 0.08, ()))
    assert markers.due() == (None, [1])
    assert markers.follow(WordEnded(Word("you", 0.16, 0.4, 1.0)))


def test_a_flush_answers_those_before_it_and_no_other() -> None:
    markers = Markers(D)
    markers.add(1, 0)
    markers.add(2, 0)
    first = markers.flush()
    assert not markers.waiting
    markers.add(3, 0)
    assert markers.waiting
    markers.follow(Vad(10.0, ()))
    assert markers.due() == (None, [])  # in their order: 3 is due, and stands behind 1 and 2
    assert markers.flushed(first) == [1, 2]
    assert markers.due() == (None, [3])
