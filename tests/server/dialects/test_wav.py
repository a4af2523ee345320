"""A WAV file that comes in pieces."""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.core import StreamError
from vivavoce.server.dialects.wav import LONGEST_HEAD, WavSound

SAMPLES = (np.arange(500) * 40 - 10_000).astype("<i2")


def wav(
    data: bytes = SAMPLES.tobytes(), tag: int = 1, channels: int = 1, rate: int = 24_000, bits: int = 16, extra: int = 0
) -> bytes:
    """`extra` bytes of another chunk stand before the samples; sizes are those of a file of unknown length."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate, rate * 2, 2, bits)
    other = struct.pack("<4sI", b"LIST", extra) + bytes(extra + extra % 2) if extra else b""
    return b"RIFF\xff\xff\xff\xffWAVE" + form + other + b"data\xff\xff\xff\xff" + data


def heard(pieces: list[bytes]) -> np.ndarray:
    sound = WavSound()
    blocks = [samples for piece in pieces for samples in sound.read(piece)]
    return np.concatenate([*blocks, sound.rest()])


@given(st.lists(st.integers(0, len(wav(extra=7))), max_size=8), st.sampled_from([0, 7]))
def test_it_does_not_matter_how_it_is_cut(cuts: list[int], extra: int) -> None:
    data = wav(extra=extra)
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found = heard([data[start:stop] for start, stop in pairwise(ends)])
    np.testing.assert_array_equal(found, SAMPLES / np.float32(32_768))


def test_floats_and_other_rates_are_heard() -> None:
    floats = (SAMPLES / np.float32(32_768)).astype("<f4")
    np.testing.assert_array_equal(heard([wav(floats.tobytes(), tag=3, bits=32)]), floats)
    assert abs(len(heard([wav(rate=8_000)])) - 3 * len(SAMPLES)) < 60


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"ID3\x04 and so on", "no WAV begins"),
        (wav(channels=2), "2 channels"),
        (wav(bits=24), "24 bits"),
        (wav(rate=1), "1 Hz"),
        (wav(extra=LONGEST_HEAD), "before its samples"),
        (b"RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00", "before their format"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt \x02\x00\x00\x00\x01\x00", "has 2 bytes"),
    ],
)
def test_what_cannot_be_heard_is_told(data: bytes, why: str) -> None:
    with pytest.raises(StreamError, match=why):
        heard([data])


@given(st.binary(max_size=200))
def test_nothing_else_ever_comes_of_it(data: bytes) -> None:
    with suppress(StreamError):
        heard([b"RIFF\x00\x00\x00\x00WAVE" + data])
