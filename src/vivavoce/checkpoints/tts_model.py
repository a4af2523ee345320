"""What a loaded text-to-speech checkpoint is: its settings, its networks and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sentencepiece import SentencePieceProcessor

from ..core import FRAME_RATE
from ..nn.conditions import Conditions
from ..nn.lm import Lm
from ..nn.mimi import Mimi

SPEAKERS, GUIDANCE, CONTROL = "speaker_wavs", "cfg", "control"  # the conditioners that released models have


@dataclass(frozen=True)
class TtsConfig:
    """What config.json says besides tensor sizes, and what the reference takes where it says nothing (spec §4.6)."""

    name: str  # of the repository or folder
    audio_delay_seconds: float  # the audio follows the text by this much
    second_stream_ahead: int = 0  # words that the second text stream looks ahead; 0: there is none
    codebooks: int = 32  # that are generated: fewer are faster and sound worse
    max_speakers: int = 5  # voices that the model may be given at once
    voice_frames: int = 125  # length of a voice's recording, in latent vectors
    voice_suffix: str = ""  # ends the name of a voice file that fits the model
    temperature: float = 0.6  # of the audio
    temperature_text: float = 0.6  # of the choice between speaking on and the next word
    top_k: int = 250
    top_k_text: int = 25
    guidance: float = 2.0  # strength of classifier-free guidance unless a stream says otherwise
    initial_padding: int = 2  # steps before the first word
    max_padding: int = 8  # steps after which the next word starts at the latest
    padding_between: int = 1  # steps after a word's pieces in which none starts
    final_padding: int = 4  # frames after the end of the text
    languages: tuple[str, ...] = ()  # ISO 639-1; empty when unknown

    @property
    def delay_steps(self) -> int:
        """Steps by which the audio follows the text."""
        return int(self.audio_delay_seconds * FRAME_RATE)


@dataclass(frozen=True)
class TtsModel:
    """A text-to-speech model, ready to step. Loaded parameters do not require gradients."""

    config: TtsConfig
    mimi: Mimi
    lm: Lm
    conditions: Conditions  # fp32, whatever the LM's dtype
    tokenizer: SentencePieceProcessor
    files: Mapping[str, str] = field(default_factory=dict)  # local paths: lm, mimi, tokenizer
    packed: str | None = None  # "int8" or "int4": what an engine is to make of the LM's weights

    @property
    def dtype(self) -> str:
        """Of the LM's weights, as an engine keeps them."""
        return self.packed or str(self.lm.embeddings.dtype).removeprefix("torch.")

    @property
    def guidances(self) -> tuple[float, ...]:
        """The strengths of guidance that were distilled into the model; none: any, at twice the cost."""
        conditioner = self.conditions.config.get(GUIDANCE)
        return tuple(map(float, conditioner.values)) if conditioner else ()

    @property
    def voice_dim(self) -> int:
        """Width of a voice's vectors; 0 for a model that takes its voice from a recording put before the speech."""
        conditioner = self.conditions.config.get(SPEAKERS)
        return conditioner.dim if conditioner else 0
