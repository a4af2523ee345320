"""What the mixer does to clips before it strings them together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.core import SAMPLE_RATE
from vivavoce.train.augment import gate, loud_part
from vivavoce.train.corpus import Clip
from vivavoce.train.recipe import Recipe
from vivavoce.train.streams import Mixer

LOUD, WEAK = 0.5, 0.01


def clip_of(lengths: list[tuple[float, float, float]]) -> Clip:
    """Words as a weak hiss, a loud tone and a weak hiss of these lengths in seconds; each word's tone has a pitch of
    its own, by which it is found again."""
    parts, words, time = [], [], 0.0
    for index, (before, tone, after) in enumerate(lengths):
        counts = [round(length * SAMPLE_RATE) for length in (before, tone, after)]
        phase = 2 * np.pi * np.arange(counts[1]) * pitch(index) / SAMPLE_RATE
        parts += [np.full(counts[0], WEAK), LOUD * np.sin(phase), np.full(counts[2], WEAK)]
        stop = time + sum(counts) / SAMPLE_RATE
        words.append((str(index), time, stop))
        time = stop
    return Clip(np.concatenate(parts).astype(np.float32), tuple(words), "made", "maker", "none")


def pitch(index: int) -> int:
    return 300 + 200 * index


def mixer(clip: Clip, seed: int) -> Mixer:
    return Mixer([clip], Recipe(), seed)


def power(audio: np.ndarray, frequency: int) -> float:
    """Amplitude of a tone in the audio, 0 to about 0.5 times its share of the time."""
    wave = np.exp(-2j * np.pi * np.arange(len(audio)) * frequency / SAMPLE_RATE)
    return float(np.abs((audio * wave).mean()))


PARTS = st.tuples(st.floats(0, 0.15), st.floats(0.1, 0.3), st.floats(0, 0.15))


@given(lengths=st.lists(PARTS, min_size=1, max_size=4), seed=st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_every_word_that_is_kept_still_lies_where_its_times_say(
    lengths: list[tuple[float, float, float]], seed: int
) -> None:
    drawn = mixer(clip_of(lengths), seed)._digit("maker")
    assert drawn.words
    for text, start, stop in drawn.words:
        assert 0 <= start < stop <= len(drawn.audio) / SAMPLE_RATE + 1e-9
        word = drawn.audio[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)]
        loudest = max(range(len(lengths)), key=lambda index: power(word, pitch(index)))
        assert str(loudest) == text


@given(lengths=st.lists(PARTS, min_size=1, max_size=4), seed=st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_at_most_two_fifths_of_an_outer_word_are_cut(lengths: list[tuple[float, float, float]], seed: int) -> None:
    clip = clip_of(lengths)
    drawn = mixer(clip, seed)._digit("maker")
    whole = {text: stop - start for text, start, stop in clip.words}
    for text, start, stop in drawn.words:
        cuts = 2 if len(drawn.words) == 1 else 1
        assert stop - start >= (1 - 0.4 * cuts) * whole[text] - 0.001


def test_a_weak_onset_is_cut_in_many_of_the_takes() -> None:
    many = mixer(clip_of([(0.1, 0.2, 0.1)]), 1)
    lengths = [len(many._digit("maker").audio) / SAMPLE_RATE for _ in range(200)]
    shorter = sum(length < 0.38 for length in lengths)
    assert 60 < shorter < 140, "about half of them"


def test_a_gate_silences_the_weak_and_leaves_the_loud() -> None:
    audio = clip_of([(0.1, 0.2, 0.1)]).audio
    gated = gate(audio, 20)
    assert not gated[:1200].any() and not gated[-1200:].any()
    assert gated[2640:6960] == pytest.approx(audio[2640:6960])


def test_the_loud_part_is_the_tone() -> None:
    first, last = loud_part(clip_of([(0.1, 0.2, 0.1)]).audio)
    assert (first, last) == (2400, 7200)
