"""From frames of audio to what a caller asked to get: PCM or Ogg/Opus, bare or in MessagePack."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sphn
from numpy.typing import NDArray

from vivavoce.core import SAMPLE_RATE, Cleared, Flushed, Speech, SpeechEvent, StreamError, WordSpoken

from . import moshi_codec, speech_codec
from .speech_wishes import Format


class Loudspeaker:
    """What one stream's events are on the wire; `packed` when there are messages of other kinds than audio."""

    def __init__(self, format: Format) -> None:
        self.packed = format.endswith("MessagePack")
        self._opus = sphn.OpusStreamWriter(SAMPLE_RATE) if format.startswith("OggOpus") else None

    def decode(self, message: bytes | str) -> speech_codec.Request:
        """One message of the caller. Raises StreamError(INVALID_MESSAGE)."""
        return speech_codec.decode(message)

    def complaint(self, error: StreamError) -> bytes | None:
        """None where the format has no words for it."""
        return moshi_codec.error(str(error)) if self.packed else None

    def begin(self) -> list[bytes]:
        """What comes before all else: Ready, and the header of an Ogg stream."""
        ready = [moshi_codec.ready()] if self.packed else []
        if not self._opus:
            return ready
        header: bytes = self._opus.append_pcm(np.zeros(0, np.float32))  # two pages
        return [*ready, self._ogg(header)]

    def tell(self, event: SpeechEvent) -> Iterator[bytes]:
        """Nothing of what the format has no words for."""
        match event:
            case Speech(samples):
                yield self._audio(samples)
            case WordSpoken(text, start, stop) if self.packed:
                yield speech_codec.word(text, start, stop)
            case Flushed(id) if self.packed:
                yield speech_codec.flush(int(id))
            case Cleared() if self.packed:
                yield speech_codec.clear()

    def _audio(self, samples: NDArray[np.float32]) -> bytes:
        if self._opus:
            return self._ogg(self._opus.append_pcm(samples))  # two pages of 40 ms
        return speech_codec.audio(samples) if self.packed else samples.astype("<f4").tobytes()

    def _ogg(self, pages: bytes) -> bytes:
        return speech_codec.ogg_opus(pages) if self.packed else pages
