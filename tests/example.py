"""The recording that ships with the project, and what is said in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.flac"  # 11.5 s
WORDS = EXAMPLE.with_suffix(".txt").read_text().replace(",", "").replace(".", "").split()
SAID = " ".join(WORDS)
HALF_WORDS = WORDS[:11]

TERM, MISHEARD = "zero", "zero two two seven nine four six zero nine five eight"
HEARD_WITH_TERM = MISHEARD.replace("two two", "two zero")


def half() -> NDArray[np.float32]:
    """Its first 5.5 s, HALF_WORDS."""
    from vivavoce.audio import load

    return load(EXAMPLE)[:132_000]


def doubtful() -> NDArray[np.float32]:
    """Its first half in noise that is 2 dB louder than speech: a zero is heard as a two, unless it is a key term."""
    clean = half()
    noise = np.random.default_rng(5).standard_normal(len(clean)).astype(np.float32)
    return (0.5 * (clean + 10 ** (2 / 20) * clean.std() * noise)).astype(np.float32)
