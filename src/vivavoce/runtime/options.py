"""What a caller may choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vivavoce.core import KeyTerm, UnsupportedError
from vivavoce.session import key_terms
from vivavoce.session.guard import GUARDS


@dataclass(frozen=True)
class StreamOptions:
    """Raises UnsupportedError for a temperature, a seed, a guard or a key term that cannot be used."""

    temperature: float | None = None  # of the text; None is the model's own choice, 0 is greedy
    seed: int = 0
    vad: bool = True  # whether the pauses of each frame are told; turns are in any case
    vad_head: int | None = None  # None is the model's own choice
    vad_threshold: float = 0.5
    guard: str = "flag"  # of words that nobody can have said; or drop
    heal: bool = True  # begin the model's context afresh when it has gone silent over speech
    resumable: bool = False  # events stay after they were read, so that `Runtime.resume` can give them again
    key_terms: tuple[KeyTerm, ...] = ()  # what the stream is likely to hear

    def __post_init__(self) -> None:
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UnsupportedError(f"temperature must be finite and not negative, got {self.temperature}")
        if not 0 <= self.seed < 2**63:
            raise UnsupportedError(f"seed must be from 0 to 2^63 - 1, got {self.seed}")
        if self.guard not in GUARDS:
            raise UnsupportedError(f"guard must be {' or '.join(GUARDS)}, got {self.guard!r}")
        key_terms.check(self.key_terms)


@dataclass(frozen=True)
class SpeechOptions:
    """Of text to speech. None is the model's own choice. Raises UnsupportedError for what cannot be used."""

    voices: tuple[str, ...] | None = None  # of the main speaker, and of the other one
    cfg: float | None = None  # how closely the voice is kept
    temperature: float | None = None  # of the text and the codes; 0 is greedy
    top_k: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("temperature", self.temperature), ("cfg", self.cfg)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UnsupportedError(f"{name} must be finite and not negative, got {value}")
        if self.top_k is not None and not 1 <= self.top_k < 2**31:
            raise UnsupportedError(f"top_k must be from 1 to 2^31 - 1, got {self.top_k}")
        if not 0 <= self.seed < 2**63:
            raise UnsupportedError(f"seed must be from 0 to 2^63 - 1, got {self.seed}")
