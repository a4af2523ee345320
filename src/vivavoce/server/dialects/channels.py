"""The caller's bytes of several interleaved channels to samples: one reader for each, or all of them mixed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .sound import Format, Samples, sound

_WIDTHS = {"pcm_f32le": 4, "pcm_s16le": 2}


class Channels:
    """Cut anywhere. `mixed`: the mean of all channels is the only one."""

    def __init__(self, format: Format, rate: int, channels: int, mixed: bool) -> None:
        self._readers = [sound(format, rate) for _ in range(channels)]
        self._frame = _WIDTHS.get(format, 1) * channels  # bytes of one sample of all channels
        self._mixed = mixed
        self._cut = b""

    def read(self, data: bytes) -> Iterator[list[Samples]]:
        """What became readable, in blocks: an array for each channel. Raises StreamError(INVALID_MESSAGE)."""
        if len(self._readers) == 1:
            yield from ([block] for block in self._readers[0].read(data))
            return
        held = self._cut + data
        whole = len(held) - len(held) % self._frame
        self._cut = held[whole:]
        frames = np.frombuffer(held[:whole], np.uint8).reshape(
            -1, len(self._readers), self._frame // len(self._readers)
        )
        parts = (reader.read(frames[:, number].tobytes()) for number, reader in enumerate(self._readers))
        yield from (self._joined(list(blocks)) for blocks in zip(*parts, strict=True))

    def rest(self) -> list[Samples]:
        """What is still held back when nothing more follows for now."""
        return self._joined([reader.rest() for reader in self._readers])

    def _joined(self, blocks: list[Samples]) -> list[Samples]:
        return [np.mean(blocks, axis=0, dtype=np.float32)] if self._mixed and len(blocks) > 1 else blocks
