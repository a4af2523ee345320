"""Hears that a model has gone silent over speech: its context has then to be begun afresh (spec/field.md §6.3).

What counts as speech is energy that comes in syllables: steady noise and hum do not, nor clicks; music may. A false
alarm costs little, because it comes only where the model gives no words anyway.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import SAMPLE_RATE, Event, Token, UnsupportedError, WordStarted, seconds

BLOCK = SAMPLE_RATE // 50  # samples: 20 ms
QUIETEST = -45.0  # dBFS: below, nobody speaks to us
ABOVE_NOISE = 10.0  # dB
LOUDEST = 1e12  # power; what is louder, beyond float32 even, is no sound
SHORTEST = 3  # blocks of a syllable; a click is shorter
SHARE = 0.2  # of the blocks that syllables take up, at least, in either half of what is judged
SYLLABLES = 1.0  # a second, at least, pauses included
SWING = 6.0  # dB by which the level rises into a syllable and falls after it
PATIENCE = 1.0  # seconds beyond the model's delay, in which a word may still come

Levels = NDArray[np.float64]


@np.errstate(over="ignore")
def energies(samples: NDArray[np.float32]) -> list[float]:
    """The sum of squares of every whole block of 20 ms of float32 samples [n]."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    return np.vecdot(blocks, blocks).tolist()


def levels(samples: NDArray[np.float32]) -> Levels:
    """dBFS (0: RMS 1) of every whole block of 20 ms of float32 samples [n]."""
    return decibels(energies(samples))


def decibels(energy: Iterable[float]) -> Levels:
    """dBFS of blocks with these energies."""
    power = np.fromiter(energy, np.float64) / BLOCK
    return 10 * np.log10(np.minimum(power, LOUDEST) + 1e-12)


def sounds_like_speech(level: Levels) -> bool:
    """Whether blocks of these levels, some seconds of them, hold speech throughout."""
    if _thinner_half(level > QUIETEST) < SHARE:  # as most silence is; the threshold is never lower
        return False
    threshold = max(QUIETEST, float(np.percentile(level, 10)) + ABOVE_NOISE)
    if _thinner_half(_opened(level > threshold)) < SHARE:
        return False
    smooth = np.convolve(np.maximum(level, threshold - SWING), np.full(SHORTEST, 1 / SHORTEST), "valid")
    return _rises(smooth) >= SYLLABLES * seconds(len(level) * BLOCK)


def _thinner_half(active: NDArray[np.bool_]) -> float:
    """The share of the active in the half that has fewer."""
    middle = (len(active) + 1) // 2
    first, second = (np.count_nonzero(half) / max(1, len(half)) for half in (active[:middle], active[middle:]))
    return min(first, second)


def _opened(active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the runs shorter than a syllable."""
    inside = np.convolve(active, np.ones(SHORTEST), "valid") == SHORTEST
    return np.convolve(inside, np.ones(SHORTEST)) > 0


def _rises(level: Levels) -> int:
    """How often the level rises by SWING after it fell by as much."""
    count, high, extreme = 0, False, float(level[0])
    for now in level.tolist():
        extreme = max(extreme, now) if high else min(extreme, now)
        if abs(now - extreme) >= SWING:
            count, high, extreme = count + (not high), not high, now
    return count


class Watch:
    """Follows one stream: `heal_seconds` of speech without a word, the model's delay aside, are a case for healing.

    Raises UnsupportedError for a duration that is neither 0, which never heals, nor at least 1 second.
    """

    def __init__(self, heal_seconds: float, delay_seconds: float) -> None:
        if heal_seconds and not (math.isfinite(heal_seconds) and heal_seconds >= 1):
            raise UnsupportedError(f"heal_seconds must be 0 (off) or at least 1, got {heal_seconds}")
        self._judged = round(heal_seconds * SAMPLE_RATE / BLOCK)
        waited = round((delay_seconds + PATIENCE) * SAMPLE_RATE / BLOCK)
        self._recent = deque[float](maxlen=self._judged + waited)  # energies, oldest first
        self._silent = 0  # blocks since the last word
        self._examined = 0  # blocks, of those

    def follow(self, energy: list[float], events: Sequence[Event]) -> float:
        """One step: `energies` of the caller's samples and events. Seconds without a word when it is time to heal."""
        if not self._judged:
            return 0.0
        if events and any(isinstance(event, Token | WordStarted) for event in events):
            self._begin()
        self._recent.extend(energy)
        self._silent += len(energy)
        if not self._due():
            return 0.0
        self._examined = self._silent
        if not sounds_like_speech(decibels(islice(self._recent, self._judged))):
            return 0.0
        silent = seconds(self._silent * BLOCK)
        self._begin()
        return silent

    def _begin(self) -> None:
        self._recent.clear()
        self._silent = self._examined = 0

    def _due(self) -> bool:
        """Once a second: judging costs a hundred times what measuring does."""
        full = len(self._recent) == self._recent.maxlen
        return full and (self._examined == 0 or (self._silent - self._examined) * BLOCK >= SAMPLE_RATE)
