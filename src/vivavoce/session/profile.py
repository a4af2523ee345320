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


@dataclass(frozen=True)
class TtsProfile:
    """How one text-to-speech model is fed its text, and how far its audio is behind (spec §4.1 to §4.3, §4.6).

    Raises CheckpointError when a number is negative, or no vocabulary is.
    """

    text_card: int  # ids of the tokenizer
    delay_steps: int  # of the audio behind the text
    acoustic_delay: int = 2  # steps of the slowest codebook behind that
    lookahead: int = 0  # words that a second text stream is ahead; 0: the model has none
    multi_speaker: bool = False
    initial_padding: int = 2  # steps before the first word
    max_padding: int = 8  # steps after which the next word starts at the latest
    padding_between: int = 1  # steps after a word's pieces in which none starts
    final_padding: int = 4  # frames after the end of the text
    words: tuple[str, ...] = ()  # the only ones that the model can say; none: it can say any

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, int) and value < 0:
                raise CheckpointError(f"{name} must not be negative, got {value}")
        if not self.text_card:
            raise CheckpointError("text_card must be positive, got 0")

    @property
    def first_audio_step(self) -> int:
        """The step, counted from 0, that gives the first frame; step s's own frame comes so many steps later."""
        return self.delay_steps + self.acoustic_delay

    @property
    def tail_steps(self) -> int:
        """Steps from the one at which the text ran out until all of its audio has been given."""
        return self.first_audio_step + self.final_padding
