"""The caller's bytes to mono float32 at 24 kHz, however they are cut: PCM, G.711, Ogg/Opus, at any sample rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from vivavoce.audio.decode import LOUDEST
from vivavoce.core import SAMPLE_RATE

from .msgpack import invalid
from .opus import OpusReader

Samples = NDArray[np.float32]
Format = Literal["pcm_f32le", "pcm_s16le", "mulaw", "alaw", "opus"]
_BLOCK = 65_536  # bytes at a time, so that no message becomes many times its size at once


class Sound(Protocol):
    """Bytes in, samples out."""

    cut: bytes  # the first bytes of a sample whose others have not come

    def read(self, data: bytes) -> Iterator[Samples]:
        """What became readable, in blocks. Raises StreamError(INVALID_MESSAGE); the next bytes begin afresh then."""

    def at_once(self, data: bytes) -> Samples | None:
        """What became readable, where that is one block without a fault; None: nothing was read, `read` is to do it."""

    def rest(self) -> Samples:
        """What is still held back when nothing more follows for now."""


def sound(format: Format, rate: int) -> Sound:
    """The reader of one stream; `rate` in Hz."""
    if format == "opus":
        return _Opus()
    return _Pcm(format, rate)


class _Opus:
    def __init__(self) -> None:
        self.cut = b""  # the reader keeps it
        self._reader = OpusReader()

    def read(self, data: bytes) -> Iterator[Samples]:
        return self._reader.read(data)

    def at_once(self, data: bytes) -> Samples | None:  # noqa: ARG002
        return None

    def rest(self) -> Samples:
        return np.zeros(0, np.float32)


class _Pcm:
    def __init__(self, format: Format, rate: int) -> None:
        self._format, self._rate = format, rate
        self._width = {"pcm_f32le": 4, "pcm_s16le": 2}.get(format, 1)
        self.cut = b""
        self._resampler = self._new_resampler()

    def read(self, data: bytes) -> Iterator[Samples]:
        for start in range(0, len(data), _BLOCK):
            held = self.cut + data[start : start + _BLOCK]
            whole = len(held) - len(held) % self._width
            self.cut = held[whole:]
            samples = self._decoded(held[:whole])
            if self._resampler:
                samples = self._resampler.resample_chunk(samples)
            if len(samples):
                yield samples

    def at_once(self, data: bytes) -> Samples | None:
        if self.cut or self._resampler or len(data) % self._width or len(data) > _BLOCK:
            return None
        if self._format != "pcm_f32le":
            return self._decoded(data)
        samples = np.frombuffer(data, "<f4")
        return samples if np.vdot(samples, samples) <= LOUDEST**2 else None  # then none is louder, and none is NaN

    def rest(self) -> Samples:
        if not self._resampler:
            return np.zeros(0, np.float32)
        last: Samples = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._resampler = self._new_resampler()
        return last

    def _decoded(self, data: bytes) -> Samples:
        if self._format == "pcm_f32le":
            return self._floats(data)
        if self._format == "pcm_s16le":
            return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32_768)
        return (_MULAW if self._format == "mulaw" else _ALAW)[np.frombuffer(data, np.uint8)]

    def _floats(self, data: bytes) -> Samples:
        samples = np.frombuffer(data, "<f4").astype(np.float32)
        wrong = ~(np.abs(samples) <= LOUDEST)  # NaN too
        if wrong.any():
            self.cut = b""
            first = int(np.argmax(wrong))
            raise invalid(
                f"sample {first} of {len(samples)} is {samples[first]:g}, float32 audio lies between -1 and 1; "
                "16-bit integers are sent with ?format=pcm_s16le"
            )
        return samples

    def _new_resampler(self) -> soxr.ResampleStream | None:
        if self._rate == SAMPLE_RATE:
            return None
        return soxr.ResampleStream(self._rate, SAMPLE_RATE, 1, dtype="float32")


def _mulaw() -> Samples:
    """G.711 µ-law: sign, three bits of exponent, four of mantissa, all inverted."""
    codes = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (codes >> 4) & 7, codes & 15
    size = ((2 * mantissa.astype(np.int32) + 33) << exponent) - 33
    return (np.where(codes & 0x80, -size, size) / 8_192).astype(np.float32)


def _alaw() -> Samples:
    """G.711 A-law: sign, three bits of exponent, four of mantissa, every other bit inverted."""
    codes = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (codes >> 4) & 7, (codes & 15).astype(np.int32)
    size = np.where(exponent == 0, 2 * mantissa + 1, (2 * mantissa + 33) << np.maximum(exponent, 1) - 1)
    return (np.where(codes & 0x80, size, -size) / 4_096).astype(np.float32)


_MULAW, _ALAW = _mulaw(), _alaw()
