"""Where the sound of a clip begins and ends."""

from __future__ import annotations

import numpy as np
import pytest

from vivavoce.core import SAMPLE_RATE
from vivavoce.train.audio import bounds


def noise(seconds: float, db: float) -> np.ndarray:
    samples = np.random.default_rng(1).standard_normal(round(seconds * SAMPLE_RATE))
    return (samples * 10 ** (db / 20)).astype(np.float32)


@pytest.mark.parametrize("weak", [-22, -26, -29])
def test_a_weak_consonant_at_the_edge_of_a_close_cut_is_no_noise(weak: float) -> None:
    """A six from the very onset of its s to the end of the other, nothing around."""
    clip = np.concatenate([noise(0.06, weak), noise(0.2, 0), noise(0.06, weak)])
    start, stop = bounds(clip, 34)
    assert (start, stop) == pytest.approx((0.0, 0.32), abs=0.006)


def test_the_noise_of_a_recording_around_a_word_is_cut_off() -> None:
    clip = np.concatenate([noise(0.3, -45), noise(0.06, -24), noise(0.2, 0), noise(0.4, -45)])
    start, stop = bounds(clip, 34)
    assert (start, stop) == pytest.approx((0.3, 0.56), abs=0.011)
