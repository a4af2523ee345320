"""What a caller may choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vivavoce.core import UnsupportedError


@dataclass(frozen=True)
class StreamOptions:
    """Raises UnsupportedError for a temperature or a seed that cannot be used."""

    temperature: float | None = None  # of the text; None is the model's own choice, 0 is greedy
    seed: int = 0
    vad_head: int | None = None  # None is the model's own choice
    vad_threshold: float = 0.5
    heal: bool = True  # begin the model's context afresh when it has gone silent over speech
    resumable: bool = False  # events stay after they were read, so that `Runtime.resume` can give them again

    def __post_init__(self) -> None:
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UnsupportedError(f"temperature must be finite and not negative, got {self.temperature}")
        if not 0 <= self.seed < 2**63:
            raise UnsupportedError(f"seed must be from 0 to 2^63 - 1, got {self.seed}")
