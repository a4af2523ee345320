"""What a loaded checkpoint is: its settings, the two networks and the vocabulary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..core import CheckpointError
from ..nn.lm import Lm
from ..nn.mimi import Mimi
from .tokenizers import as_sentencepiece


@dataclass(frozen=True)
class SttConfig:
    """What config.json says besides tensor sizes."""

    name: str  # of the repository or folder
    audio_delay_seconds: float  # the text lags the audio by this much
    audio_silence_prefix_seconds: float = 0.0  # silence the model wants before the first word
    temperature: float = 0.0  # of the text tokens; 0 is greedy
    vad_head: int = 2  # the head that tells the end of a turn best
    languages: tuple[str, ...] = ()  # ISO 639-1; empty when unknown


@dataclass(frozen=True)
class SttModel:
    """A speech-to-text model, ready to step. Parameters do not require gradients."""

    config: SttConfig
    mimi: Mimi
    lm: Lm
    pieces: tuple[str, ...]  # sentencepiece pieces by token id, [text_card]
    files: Mapping[str, str] = field(default_factory=dict)  # local paths: lm, mimi, tokenizer
    packed: str | None = None  # "int8" or "int4": what an engine is to make of the LM's weights

    @property
    def dtype(self) -> str:
        """Of the LM's weights, as an engine keeps them."""
        return self.packed or str(self.lm.embeddings.dtype).removeprefix("torch.")

    def tokenizer(self) -> bytes:
        """A sentencepiece model that spells as this one's; empty where there is none, or none that could be read."""
        if path := self.files.get("tokenizer"):
            with suppress(CheckpointError):
                return as_sentencepiece(Path(path))
        return b""


def languages(name: str) -> tuple[str, ...]:
    """What released names say: tokenizer_en_fr_audio_8000.model, kyutai/stt-1b-en_fr-trfs; empty for others."""
    match = re.search(r"(?:tokenizer_|stt-[\d.]+b-)([a-z]{2}(?:_[a-z]{2})*)(?:[_-]|$)", name)
    return tuple(match[1].split("_")) if match else ()
