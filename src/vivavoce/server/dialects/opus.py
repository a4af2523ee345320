"""One Ogg/Opus byte stream in pieces of any size, to mono float32 at 24 kHz."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sphn
from numpy.typing import NDArray

from vivavoce.core import SAMPLE_RATE, StreamError

from .msgpack import invalid

_CAPTURE = b"OggS"  # every page begins with it
_PIECE = 512  # bytes at a time: a packet of one byte can stand for 120 ms, so that more at once could fill the memory


class OpusReader:
    """Pages and packets may be cut anywhere. Behind damage it goes on at the next page."""

    def __init__(self) -> None:
        self._begin()

    def read(self, data: bytes) -> Iterator[NDArray[np.float32]]:
        """What became readable, in blocks. At the end raises StreamError(INVALID_MESSAGE) if something was damaged."""
        damage: StreamError | None = None
        for start in range(0, len(data), _PIECE):
            try:
                samples = self._decode(data[start : start + _PIECE])
            except ValueError as error:
                damage = damage or invalid(f"the Ogg/Opus stream is damaged: {error}")
                self._begin()
            else:
                if len(samples):
                    yield samples
        if damage:
            raise damage

    def _begin(self) -> None:
        self._reader = sphn.OpusStreamReader(SAMPLE_RATE)
        self._before: bytes | None = b""  # while a page is looked for: what may be its beginning

    def _decode(self, piece: bytes) -> NDArray[np.float32]:
        if self._before is not None:
            piece = self._before + piece
            at = piece.find(_CAPTURE)
            if at < 0:
                self._before = piece[-(len(_CAPTURE) - 1) :]
                if not _CAPTURE.startswith(piece):
                    raise ValueError("no page (OggS) begins here") from None
                return np.zeros(0, np.float32)
            self._before, piece = None, piece[at:]
        return self._reader.append_bytes(piece)
