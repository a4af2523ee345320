"""Decoded frames to one clean mono signal: levels, downmix, gaps, and a refusal of samples that are not numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
from av.audio.frame import AudioFrame

from vivavoce.core import SAMPLE_RATE, InvalidAudioError

from .source import Samples
from .track import Track

LOUDEST = 64.0  # where full scale is 1: beyond it, samples are something else, such as integers written as floats
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_536_000  # Hz; a damaged header must not make gigabytes out of kilobytes
SMALLEST_GAP = 0.05  # seconds; below it timestamps are rounding, not silence
LARGEST_GAP = 600.0  # seconds; beyond it timestamps jump, they do not describe silence


def mono(frame: AudioFrame, channel: int | None = None) -> Samples:
    """Mean of the channels, or one of them, full scale ±1."""
    data = frame.to_ndarray()
    channels = frame.layout.nb_channels
    planes = data if frame.format.is_planar else data.reshape(-1, channels).T
    if channel is not None:
        planes = planes[min(channel, channels - 1)][None]
    with np.errstate(over="ignore", invalid="ignore"):  # found and named by `refuse_what_is_no_audio`
        mixed: Samples = _level(planes).mean(axis=0, dtype=np.float32)
        return mixed


def _level(planes: npt.NDArray[Any]) -> Samples:  # any of FFmpeg's sample types
    if planes.dtype.kind == "f":
        return planes.astype(np.float32, copy=False)
    if planes.dtype.kind == "u":
        return (planes.astype(np.float32) - 128) / np.float32(128)
    return planes.astype(np.float32) / np.float32(-float(np.iinfo(planes.dtype).min))


def refuse_what_is_no_audio(samples: Samples, before: int, rate: int, name: str) -> None:
    """Raise at the first sample that is NaN, infinite or louder than LOUDEST; `before` samples came earlier."""
    fine = np.abs(samples) <= LOUDEST  # NaN is not
    if fine.all():
        return
    first = int(np.argmin(fine))
    value, index = samples[first], before + first
    loud = f"{value:g}; audio lies between -1 and 1, were integers written as floats?"
    what = "NaN" if np.isnan(value) else "infinite" if np.isinf(value) else loud
    raise InvalidAudioError(f"{name}: sample {index} (at {index / rate:.3f} s) is {what}")


class Timeline:
    """Keeps samples where the container says they are: gaps (discontinuous transmission, a muted track) stay silent."""

    def __init__(self, lead: float, end: float | None) -> None:
        self._lead = lead
        self._longest = inf if end is None else lead + end + 1  # seconds; no gap may reach beyond the container's end
        self._origin: float | None = None
        self.seconds = 0.0

    def gap(self, frame: AudioFrame) -> int:
        """Samples of silence missing before this frame; moves the clock past silence and frame."""
        missing = self._missing(frame.time)
        silence = round(missing * frame.sample_rate) if missing > SMALLEST_GAP else 0
        self.seconds += (silence + frame.samples) / frame.sample_rate
        return silence

    def _missing(self, time: float | None) -> float:
        if time is None:
            return 0.0
        if self._origin is None:
            self._origin = time - self._lead
        missing = time - self._origin - self.seconds
        if -SMALLEST_GAP < missing < LARGEST_GAP and self.seconds + missing < self._longest:
            return missing
        self._origin = time - self.seconds  # a chained stream starts its clock again, a damaged one jumps
        return 0.0


def signal(track: Track, channel: int | None = None) -> Iterator[Samples]:
    """The whole track, or a channel of it, as mono float32 at 24 kHz, in pieces as they are decoded."""
    timeline = Timeline(track.lead, track.end)
    for rate, frames in groupby(track.frames(), key=lambda frame: frame.sample_rate):
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise InvalidAudioError(
                f"{track.name}: a sample rate of {rate} Hz; {LOWEST_RATE} to {HIGHEST_RATE} Hz can be audio"
            )
        yield from resample(_pieces(frames, timeline, rate, track.name, channel), rate)
    if timeline.seconds == 0:
        raise InvalidAudioError(f"{track.name}: its audio track holds no samples")
    track.check_end(timeline.seconds)


def _pieces(
    frames: Iterator[AudioFrame], timeline: Timeline, rate: int, name: str, channel: int | None
) -> Iterator[Samples]:
    before = 0
    for frame in frames:
        samples = mono(frame, channel)
        refuse_what_is_no_audio(samples, before, rate, name)
        before += len(samples)
        for start in range(0, silence := timeline.gap(frame), rate):
            yield np.zeros(min(rate, silence - start), np.float32)
        yield samples


def resample(pieces: Iterator[Samples], rate: int) -> Iterator[Samples]:
    """Stream pieces at `rate` Hz to 24 kHz; the same samples as resampling them in one go."""
    if rate == SAMPLE_RATE:
        yield from pieces
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for piece in pieces:
        yield stream.resample_chunk(piece)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
