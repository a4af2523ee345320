"""What the model is to say at each step (spec/model.md §8.1)."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.core import TEXT_BOUNDARY, TEXT_PAD, WordEnded
from vivavoce.session import SttProfile, SttSession
from vivavoce.train.run import DELAY_STEPS, PIECES
from vivavoce.train.targets import IGNORE, pause_targets, text_track

HELLO = 7


def test_a_marker_stands_one_step_before_the_piece_and_another_where_the_word_stops() -> None:
    track = text_track([(HELLO, 1.0, 1.5)], 40, delay_steps=6).tolist()
    assert track[18:20] == [TEXT_BOUNDARY, HELLO]  # round(12.5 * 1.0) + 5, rounding halves up
    assert [i for i, token in enumerate(track) if token == TEXT_BOUNDARY] == [18, 24]
    assert set(track) == {TEXT_BOUNDARY, TEXT_PAD, HELLO}


def test_words_without_a_gap_have_one_marker_between_them() -> None:
    track = text_track([(5, 0.4, 0.8), (6, 0.8, 1.2)], 30, delay_steps=6).tolist()
    assert track[10:17] == [0, 5, 3, 3, 3, 0, 6]


def test_words_faster_than_the_steps_are_pushed_back_and_never_dropped() -> None:
    words = [(4 + i, 0.05 * i, 0.05 * i + 0.05) for i in range(8)]
    track = text_track(words, 40, delay_steps=6)
    assert [token for token in track.tolist() if token > TEXT_PAD] == [4 + i for i in range(8)]


spoken = st.lists(st.tuples(st.integers(4, 13), st.floats(0.2, 0.9), st.floats(0.0, 1.5)), max_size=8)


@given(spoken)
def test_a_session_reads_back_the_words_and_their_times(said: list[tuple[int, float, float]]) -> None:
    """Times within half a frame, as the targets round them; stops too."""
    words, now = [], 0.5
    for piece, length, gap in said:
        words.append((piece, now, now + length))
        now += length + gap
    steps = int((now + 2) * 12.5)
    track = text_track(words, steps + 1, DELAY_STEPS)
    session = SttSession(SttProfile(PIECES, DELAY_STEPS * 0.08))
    session.push(np.zeros(steps * 1920, np.float32))
    heard = []
    for token in track[1:]:
        session.take()
        heard += [e.word for e in session.stepped(int(token), 0.0, ()) if isinstance(e, WordEnded)]
    assert [w.text for w in heard] == [PIECES[piece][1:] for piece, _, _ in words]
    for word, (_, start, stop) in zip(heard, words, strict=True):
        assert abs(word.start - start) <= 0.0401
        assert abs(word.stop - stop) <= 0.0401 or word.stop <= stop  # cut by the next word


def test_a_pause_is_where_nobody_speaks_nor_will_within_the_horizon() -> None:
    """Speech from 1.0 to 1.4 s in 5 s: heads look 0.5, 1, 2 and 3 s ahead."""
    targets = pause_targets([(5, 1.0, 1.4)], 63)
    half, _, _, three = targets.T
    assert half[:6].tolist() == [0] * 6  # up to 0.40 s: nothing before 0.9 s
    assert half[7:18].tolist() == [1] * 11  # from 0.56 s until the word ends
    assert half[18] == 0
    assert three[0] == 1
    assert three[24] == 0
    assert three[-5] == IGNORE  # nobody knows what comes within three seconds of the end


def test_jitter_moves_words_later_and_never_earlier() -> None:
    rng = np.random.default_rng(0)
    plain = np.flatnonzero(text_track([(5, 1.0, 1.4)], 40, 6) == 5)[0]
    moved = [np.flatnonzero(text_track([(5, 1.0, 1.4)], 40, 6, rng) == 5)[0] for _ in range(200)]
    assert {int(step - plain) for step in moved} == {0, 1, 2}
