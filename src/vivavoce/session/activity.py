"""Hears when somebody begins to speak and when they have stopped, by loudness alone, as the audio comes in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from vivavoce.core import SAMPLE_RATE
from vivavoce.session.frames import Samples
from vivavoce.session.heal import BLOCK, SHORTEST, levels

SOFTEST, LOUDEST = -70.0, -20.0  # dBFS: what counts as speech at the lowest and at the highest threshold
MOST_ABOVE_NOISE = 20.0  # dB at the highest threshold
_REMEMBERED = 3 * SAMPLE_RATE // BLOCK  # blocks, whose quietest tenth is the noise
_NEEDED = SAMPLE_RATE // BLOCK  # of them before there is any notion of noise
_LOOK = 5  # blocks after which the noise is measured anew


@dataclass(frozen=True, slots=True)
class Began:
    """Speech began at `start`, known at `known`: samples of all that was heard."""

    start: int
    known: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """There has been silence for as long as was asked for, `known` being its end."""

    known: int


class VoiceActivity:
    """Of one stream. What it says does not depend on how the audio was cut.

    `threshold` from 0 to 1: 0.5 wants -45 dBFS and 10 dB above the noise.
    """

    def __init__(self, threshold: float = 0.5, silence: float = 0.5, heard: int = 0) -> None:
        """`silence` in seconds that ends speech; `heard` samples were heard before."""
        self._quietest = SOFTEST + threshold * (LOUDEST - SOFTEST)
        self._above_noise = threshold * MOST_ABOVE_NOISE
        self._patience = max(1, round(silence * SAMPLE_RATE / BLOCK))
        self._recent = deque[float](maxlen=_REMEMBERED)
        self._held = np.zeros(0, np.float32)  # samples of a block that is not whole
        self._heard = heard  # samples of whole blocks
        self._blocks = 0
        self._needed_level = self._quietest
        self._loud = self._quiet = 0  # blocks in a row
        self.speaking = False

    def push(self, samples: Samples) -> list[Began | Stopped]:
        """What more audio, float32 [n] at 24 kHz, tells."""
        joined = np.concatenate([self._held, samples])
        measured = levels(joined)
        self._held = joined[len(measured) * BLOCK :]
        return [event for level in measured.tolist() if (event := self._follow(level))]

    def _follow(self, level: float) -> Began | Stopped | None:
        self._heard += BLOCK
        self._recent.append(level)
        if self._blocks % _LOOK == 0 and len(self._recent) >= _NEEDED:
            noise = float(np.percentile(np.array(self._recent), 10))
            self._needed_level = max(self._quietest, noise + self._above_noise)
        self._blocks += 1
        self._loud = self._loud + 1 if level > self._needed_level else 0
        if self._loud >= SHORTEST:  # a click is shorter than a syllable
            self._quiet = 0
            if not self.speaking:
                self.speaking = True
                return Began(self._heard - self._loud * BLOCK, self._heard)
        elif self.speaking:
            self._quiet += 1
            if self._quiet >= self._patience:
                self.speaking = False
                return Stopped(self._heard)
        return None
