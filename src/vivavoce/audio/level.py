"""How loud it is: RMS and peak in dBFS, as a meter shows them."""

from __future__ import annotations

import math

import numpy as np

from vivavoce.core import SAMPLE_RATE

from .source import Samples

FLOOR = -60.0  # dBFS; below it a meter shows nothing
LOUD, CLIPPING = -12.0, -1.0  # dBFS
SMOOTHING = 0.1  # seconds in which the level moves most of the way
FALL = 20.0  # dB a second by which the peak mark comes down


def dbfs(amplitude: float) -> float:
    """Decibels below full scale of an amplitude 0 to 1; −inf for silence."""
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


class Level:
    """A meter: `update` with the samples as they come, then read `rms` and `peak` (dBFS).

    Time is counted in samples, so that the reading does not depend on how the audio was cut or when it came.
    """

    def __init__(self) -> None:
        self._power = 0.0
        self._peak = -math.inf
        self.clipped = 0  # samples at full scale
        self.samples = 0

    @property
    def rms(self) -> float:
        """Smoothed level."""
        return dbfs(math.sqrt(self._power))

    @property
    def peak(self) -> float:
        """The highest sample lately: rises at once, falls slowly."""
        return self._peak

    def update(self, samples: Samples) -> None:
        """More audio, float32 [n] at 24 kHz."""
        for start in range(0, len(samples), SAMPLE_RATE // 100):  # steps of 10 ms
            self._step(samples[start : start + SAMPLE_RATE // 100])

    def _step(self, samples: Samples) -> None:
        seconds = len(samples) / SAMPLE_RATE
        share = 1 - math.exp(-seconds / SMOOTHING)
        self._power += share * (float(np.mean(np.square(samples, dtype=np.float64))) - self._power)
        highest = float(np.abs(samples).max())
        self._peak = max(dbfs(highest), self._peak - FALL * seconds)
        self.clipped += int(np.count_nonzero(np.abs(samples) >= 1.0))
        self.samples += len(samples)


def share(level: float) -> float:
    """Where on a meter a level stands: 0 at −60 dBFS and below, 1 at full scale."""
    return min(1.0, max(0.0, 1 - level / FLOOR))
