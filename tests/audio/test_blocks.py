"""A recording read in blocks is the same recording."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce import audio
from vivavoce.core import SAMPLE_RATE, InvalidAudioError

from .conftest import encode, tone

Make = Callable[..., bytes]


@cache
def recording(suffix: str) -> bytes:
    return encode(suffix, tone(300, 2.3, 44_100, 2), 44_100)


@given(suffix=st.sampled_from([".wav", ".mp3", ".ogg", ".m4a"]), seconds=st.floats(0.001, 5.0))
@settings(max_examples=60, deadline=None)
def test_blocks_of_any_length_join_to_the_whole(suffix: str, seconds: float) -> None:
    pieces = list(audio.blocks(recording(suffix), seconds))

    length = max(1, round(seconds * SAMPLE_RATE))
    assert all(len(piece) == length for piece in pieces[:-1])
    assert 0 < len(pieces[-1]) <= length
    np.testing.assert_array_equal(np.concatenate(pieces), audio.load(recording(suffix)))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm"])
def test_the_duration_is_known_before_decoding(make: Make, suffix: str) -> None:
    file = make(suffix, seconds=3.0, rate=48_000)
    reading = audio.blocks(file, 1.0)

    assert reading.duration == pytest.approx(3.0, abs=0.1)
    assert audio.duration(file) == reading.duration
    reading.close()


def test_errors_that_only_decoding_shows_come_after_the_good_blocks(make: Make) -> None:
    whole = make(".mp3", seconds=4.0)
    reading = audio.blocks(whole[: len(whole) // 2], 0.5, name="cut.mp3")

    assert len(next(reading)) == SAMPLE_RATE // 2
    with pytest.raises(InvalidAudioError, match=r"^cut\.mp3: truncated"):
        list(reading)


def test_a_block_holds_its_own_samples(make: Make) -> None:
    first, second = list(audio.blocks(make(".wav", seconds=2.0), 1.0))

    first[:] = 0

    assert second.any()
