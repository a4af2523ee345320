"""Frames of audio in, the bytes of a format out, as soon as they are there."""

from __future__ import annotations

from typing import BinaryIO, cast

from vivavoce.audio import Samples, Writer
from vivavoce.audio.writer import BITS, Format
from vivavoce.core import SAMPLE_RATE

__all__ = ["Encoder", "Format"]


class Encoder:
    """One stream's; raises UnsupportedError for a rate that the format does not have."""

    def __init__(self, format: Format, rate: int = SAMPLE_RATE, bits: int = BITS) -> None:
        self._outlet = _Outlet()
        self._writer = Writer(cast(BinaryIO, self._outlet), format, "the answer", rate=rate, bits=bits)

    def encode(self, samples: Samples) -> bytes:
        """What became ready of float32 [n] at 24 kHz and of all before it."""
        self._writer.write(samples)
        return self._outlet.take()

    def close(self) -> bytes:
        """The rest."""
        self._writer.close()
        return self._outlet.take()


class _Outlet:
    """A pipe, as a writer sees it."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        pass

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        data = bytes(self._written)
        self._written.clear()
        return data
