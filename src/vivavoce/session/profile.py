"""What a session must know of its model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vivavoce.core import FRAME_RATE, CheckpointError

_SLACK = 1e-6  # frames; 12.5 x 0.56 is 7.000000000000001 in floating point and means 7


@dataclass(frozen=True)
class SttProfile:
    """Tokenizer, text delay, silence prefix and VAD heads of one speech-to-text model (spec §3.2, §3.3, §3.6).

    Raises CheckpointError when a duration is negative or not finite, or the number of heads negative.
    """

    pieces: Sequence[str]  # sentencepiece pieces by id; '▁' marks a word's beginning
    delay_seconds: float  # stt_config.audio_delay_seconds
    silence_prefix_seconds: float = 0.0
    vad_heads: int = 0

    def __post_init__(self) -> None:
        for name in ("delay_seconds", "silence_prefix_seconds", "vad_heads"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise CheckpointError(f"{name} must be finite and not negative, got {value}")

    @property
    def delay_frames(self) -> int:
        """D of spec §3.4: how many frames the text runs behind the audio."""
        return math.floor(FRAME_RATE * self.delay_seconds + _SLACK)

    @property
    def prefix_frames(self) -> int:
        """Frames of silence that the model hears before the caller's audio."""
        return math.ceil(FRAME_RATE * self.silence_prefix_seconds - _SLACK)

    @property
    def flush_frames(self) -> int:
        """Frames of silence after which everything said before has come out as text (spec §3.5)."""
        return self.delay_frames + 2
