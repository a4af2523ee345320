"""Small signal helpers for making clips: resampling, levels, and where speech begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from .augment import fade
from .corpus import SAMPLE_RATE, Audio, Word

HOP = 120  # samples, 5 ms
MARGIN = 0.02  # seconds kept around a cut word


def load(path: Path) -> Audio:
    """Read any file libsndfile knows as mono float32 [n] at 24 kHz."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return resample(audio.mean(1), rate)


def resample(audio: npt.NDArray[np.float32], rate: int) -> Audio:
    """Bring samples [n] at `rate` Hz to 24 kHz."""
    if rate == SAMPLE_RATE:
        return np.ascontiguousarray(audio, np.float32)
    return np.asarray(soxr.resample(audio, rate, SAMPLE_RATE), np.float32)


def normalise(audio: Audio, peak: float = 0.7) -> Audio:
    """Scale to a peak, because engines differ by 20 dB."""
    top = float(np.abs(audio).max(initial=0.0))
    return audio if top == 0 else audio * np.float32(peak / top)


def level_db(audio: Audio) -> npt.NDArray[np.float64]:
    """RMS level in dB of overlapping 10 ms frames, one every 5 ms."""
    count = max(1, len(audio) // HOP)
    padded = np.pad(audio.astype(np.float64), (HOP // 2, 2 * HOP))
    energy = np.convolve(padded**2, np.ones(2 * HOP) / (2 * HOP), "valid")[::HOP][:count]
    level: npt.NDArray[np.float64] = 10 * np.log10(energy + 1e-10)
    return level


def active(audio: Audio, depth: float = 38.0) -> npt.NDArray[np.bool_]:
    """Which 5 ms frames hold speech: within `depth` dB of the peak and above the noise floor.

    What lies within 32 dB of the peak is never noise: in a clip without pauses the quietest frames are an s or a th.
    """
    level = level_db(audio)
    peak = float(level.max())
    floor = min(float(np.percentile(level, 5)) + 6, peak - 32)
    return level > max(peak - depth, floor)


def spans(audio: Audio, gap: float, depth: float = 38.0, least: float = 0.03) -> list[tuple[float, float]]:
    """Stretches of speech in seconds, joined over pauses shorter than `gap` seconds.

    Stretches shorter than `least` are clicks, unless a longer one is near enough to join.
    """
    edges = np.flatnonzero(np.diff(np.pad(active(audio, depth).astype(np.int8), 1)))
    joined: list[tuple[float, float]] = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        start, stop = int(first) * HOP / SAMPLE_RATE, int(last) * HOP / SAMPLE_RATE
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return [span for span in joined if span[1] - span[0] >= least]


def bounds(audio: Audio, depth: float = 38.0) -> tuple[float, float]:
    """Where the sound of the clip begins and ends, in seconds."""
    found = spans(audio, 0.2, depth) or [(0.0, len(audio) / SAMPLE_RATE)]
    return found[0][0], found[-1][1]


def cut(audio: Audio, start: float, stop: float, margin: float = MARGIN) -> tuple[Audio, float]:
    """Take [start, stop] seconds with a faded margin; returns the samples and where they begin."""
    first = max(0, round((start - margin) * SAMPLE_RATE))
    last = min(len(audio), round((stop + margin) * SAMPLE_RATE))
    return fade(audio[first:last], HOP), first / SAMPLE_RATE


def trim(audio: Audio, words: Sequence[Word] = (), margin: float = 0.05) -> tuple[Audio, tuple[Word, ...]]:
    """Drop the silence around a clip and shift its word times to match."""
    start, stop = bounds(audio)
    if words:
        start, stop = min(start, words[0][1]), max(stop, words[-1][2])
    piece, origin = cut(audio, start, stop, margin)
    return piece, tuple((text, on - origin, off - origin) for text, on, off in words)
