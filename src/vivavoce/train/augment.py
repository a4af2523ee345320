"""Rooms, lines, microphones and noise, on whole streams of float32 audio at 24 kHz.

All that is linear (room, microphone, bandwidth) is one product in the frequency domain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import SAMPLE_RATE

Audio = NDArray[np.float32]
BLOCK = SAMPLE_RATE // 100  # 10 ms


def change_speed(audio: Audio, factor: float) -> Audio:
    """Faster and higher by `factor`, pitch and formants together: another speaker, cheaply."""
    positions = np.arange(0, len(audio) - 1, factor)
    return np.interp(positions, np.arange(len(audio)), audio).astype(np.float32)


def decibels(value: float) -> float:
    """The amplitude ratio of that many dB."""
    return float(10 ** (value / 20))


def fade(audio: Audio, samples: int = 120) -> Audio:
    """Short ramps at both ends, so that joining clips makes no click."""
    n = min(samples, len(audio) // 2)
    ramp = np.linspace(0, 1, n, dtype=np.float32)
    out = audio.copy()
    out[:n] *= ramp
    out[len(out) - n :] *= ramp[::-1]
    return out


def gate(audio: Audio, threshold: float) -> Audio:
    """Silence what lies `threshold` dB below the loudest 10 ms, as noise suppressors do to an s, an f or a th."""
    level = _levels(audio)
    open_ = np.convolve(level > -threshold, np.ones(3), "same") > 0  # 10 ms of grace on both sides
    gain = np.interp(np.arange(len(audio)), np.arange(len(level)) * BLOCK + BLOCK / 2, open_)
    return (audio * gain).astype(np.float32)


def loud_part(audio: Audio, threshold: float = 8.0) -> tuple[int, int]:
    """From where to where (samples) the blocks within `threshold` dB of the loudest reach: about vowel to vowel."""
    loud = np.flatnonzero(_levels(audio) > -threshold)
    return int(loud[0]) * BLOCK, min((int(loud[-1]) + 1) * BLOCK, len(audio))


def _levels(audio: Audio) -> NDArray[Any]:
    """dB of each 10 ms below the loudest one; the last block may be short."""
    blocks = np.pad(audio, (0, -len(audio) % BLOCK)).reshape(-1, BLOCK)
    power = (blocks**2).mean(1) + 1e-12
    return np.asarray(10 * np.log10(power / power.max()))


def colour(rng: np.random.Generator, samples: int) -> Audio:
    """Noise of a random colour, blue to brown, sometimes with a mains hum; unit power."""
    parts = rng.standard_normal((samples // 2 + 1, 2), np.float32)
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE).astype(np.float32)
    tilt = np.maximum(frequency, 40) ** np.float32(-rng.uniform(-0.2, 1.2))
    noise = np.fft.irfft(parts.view(np.complex64)[:, 0] * tilt, samples)
    noise /= noise.std() + 1e-9
    if rng.random() < 0.15:
        time = np.arange(samples) / SAMPLE_RATE
        noise += rng.uniform(0.3, 2) * np.sin(2 * np.pi * rng.choice([50, 60, 100, 120]) * time)
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


def transmit(rng: np.random.Generator, audio: Audio) -> Audio:
    """Through a random room, microphone and line: reverberation 30 %, tilt and ripple, telephone band half the time."""
    samples = len(audio)
    size = samples + SAMPLE_RATE // 2
    coarse: NDArray[Any] = np.arange(0, size // 2 + 200, 100) * (
        SAMPLE_RATE / size
    )  # smooth curves: every hundredth bin
    curve = _microphone(rng, coarse) * _band(rng, coarse)
    response: NDArray[Any] = np.interp(np.arange(size // 2 + 1), np.arange(len(curve)) * 100, curve).astype(np.float32)
    if rng.random() < 0.3:
        response = response * np.fft.rfft(_room(rng).astype(np.float32), size)
    out = np.fft.irfft(np.fft.rfft(audio, size) * response, size)[:samples]
    if rng.random() < 0.15:
        out = _companded(out)
    return np.asarray(out, np.float32)


def _microphone(rng: np.random.Generator, frequency: NDArray[Any]) -> NDArray[Any]:
    octaves = np.log2(np.maximum(frequency, 30) / 1000)
    gain = rng.uniform(-3, 3) * octaves
    for _ in range(3):
        gain += rng.uniform(-5, 5) * np.exp(-(((octaves - rng.uniform(-3, 3.5)) / rng.uniform(0.3, 1.5)) ** 2))
    return np.asarray(10 ** (np.clip(gain, -25, 15) / 20))


def _band(rng: np.random.Generator, frequency: NDArray[Any]) -> NDArray[Any]:
    draw = rng.random()
    if draw < 0.3:
        return np.ones_like(frequency)
    high = rng.uniform(3300, 4000) if draw < 0.8 else rng.uniform(5000, 8000)
    low = rng.choice([20.0, 80.0, 300.0])
    return np.asarray(1 / (1 + (frequency / high) ** 24) / (1 + (low / np.maximum(frequency, 1)) ** 8))


def _room(rng: np.random.Generator) -> NDArray[Any]:
    decay = rng.uniform(0.05, 0.45)  # seconds to fall by 60 dB
    samples = int(decay * SAMPLE_RATE)
    tail = rng.standard_normal(samples) * 10 ** (-3 * np.arange(samples) / samples)
    tail *= rng.uniform(0.1, 0.7) / np.linalg.norm(tail)
    tail[: int(rng.uniform(0.001, 0.01) * SAMPLE_RATE)] = 0
    tail[0] = 1
    return tail


def _companded(audio: NDArray[Any]) -> NDArray[Any]:
    peak = np.abs(audio).max() + 1e-9
    code = np.sign(audio) * np.log1p(255 * np.abs(audio) / peak) / np.log1p(255)
    code = np.round(code * 127) / 127
    return np.asarray(np.sign(code) * np.expm1(np.abs(code) * np.log1p(255)) / 255 * peak)
