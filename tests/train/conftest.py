"""A corpus of sung digits: each digit a tone of its own, written and read like the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vivavoce.core import SAMPLE_RATE
from vivavoce.train.corpus import DIGITS, Clip, write_clip


def sung(digit: int, seconds: float = 0.4) -> Clip:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    audio = (0.3 * np.sin(2 * np.pi * (200 + 90 * digit) * time)).astype(np.float32)
    return Clip(audio, ((DIGITS[digit], 0.0, seconds),), "sung", "singer", "none")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten digits by one singer, and noise as other speech."""
    root = tmp_path_factory.mktemp("corpus")
    for digit in range(10):
        write_clip(root, f"d{digit}-0", sung(digit))
    noise = np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE).astype(np.float32) * 0.05
    write_clip(root, "other-0", Clip(noise, (), "sung", "crowd", "none"))
    return root
