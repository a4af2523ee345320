"""A WAV file as it comes in, in pieces of any size, to mono float32 at 24 kHz."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from .msgpack import invalid
from .sound import Format, Samples, Sound, sound

LONGEST_HEAD = 65_536  # bytes before the samples
_CODINGS: dict[tuple[int, int], Format] = {  # format tag, bits of a sample
    (1, 16): "pcm_s16le", (3, 32): "pcm_f32le", (6, 8): "alaw", (7, 8): "mulaw",
}  # fmt: skip
_EXTENSIBLE = 0xFFFE


class WavSound:
    """What its header says is not believed about its length: of audio that is made as it is sent, nobody knows it."""

    def __init__(self) -> None:
        self.cut = b""  # of the header, until it is whole
        self._samples: Sound | None = None

    def read(self, data: bytes) -> Iterator[Samples]:
        """What became readable. Raises StreamError(INVALID_MESSAGE) for what is no WAV, or none that can be heard."""
        if self._samples is None:
            self.cut += data
            found = _head(self.cut)
            if found is None:
                return
            self._samples, data = found
            self.cut = b""
        yield from self._samples.read(data)

    def at_once(self, data: bytes) -> Samples | None:
        """What became readable, once the header is behind it."""
        return self._samples.at_once(data) if self._samples else None

    def rest(self) -> Samples:
        """What is still held back when nothing more follows for now."""
        return self._samples.rest() if self._samples else np.zeros(0, np.float32)


def _head(data: bytes) -> tuple[Sound, bytes] | None:
    """Who reads the samples, and the first of them; None: more of the header must come."""
    if len(data) < 12:
        return None
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise invalid(f"no WAV begins with {data[:12]!r}")
    at, reader = 12, None
    while len(data) >= at + 8:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            if reader is None:
                raise invalid("a WAV whose samples come before their format")
            return reader, data[at + 8 :]
        if at + 8 + size > LONGEST_HEAD:
            raise invalid(f"a WAV with more than {LONGEST_HEAD} bytes before its samples")
        if len(data) < at + 8 + size:
            return None
        if name == b"fmt ":
            reader = _reader(data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return None


def _reader(fields: bytes) -> Sound:
    if len(fields) < 16:
        raise invalid(f"a WAV whose format has {len(fields)} bytes")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", fields)
    if tag == _EXTENSIBLE and len(fields) >= 26:
        tag = int.from_bytes(fields[24:26], "little")
    if (coding := _CODINGS.get((tag, bits))) is None:
        raise invalid(f"WAV of format {tag} with {bits} bits; 16-bit integers, 32-bit floats and G.711 are heard")
    if channels != 1:
        raise invalid(f"a WAV of {channels} channels; one is heard")
    if not 4_000 <= rate <= 192_000:
        raise invalid(f"a WAV of {rate} Hz; 4000 to 192000 are heard")
    return sound(coding, rate)
