"""SVOX Pico: an American and a British voice, and a French one for other speech."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from ..audio import resample
from ..corpus import Audio, EngineMissingError, Job, Request
from ..sentences import french
from .mix import Voice, takes

LICENCE = "Apache-2.0 (SVOX Pico)"
RATE = 16_000
WARPS = (1.0, 0.8, 0.87, 0.94, 1.08)


def jobs(request: Request) -> Iterator[Job]:
    """Both English voices at five formant scales; lower ones sound like men."""
    _engine("en-US")
    voices = [Voice("pico", lang, LICENCE, partial(_say, lang), warp) for warp in WARPS for lang in ("en-US", "en-GB")]
    yield from takes(voices, request.seed, lists=6, strings=8, others=6)
    yield from takes([_french(warp) for warp in WARPS], request.seed, 0, 0, 5)


def _french(warp: float) -> Voice:
    say = partial(_say, "fr-FR")
    return Voice("pico", "fr-FR", LICENCE, say, warp, lambda rng: str(rng.choice(french())))


@cache
def _engine(lang: str) -> Any:
    try:
        from ttspico import TtsEngine  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise EngineMissingError("`pip install ttspico==0.3.2`") from None
    return TtsEngine(lang)


def _say(lang: str, text: str, rng: np.random.Generator) -> Audio:
    engine = _engine(lang)
    engine.rate, engine.pitch = int(rng.integers(75, 140)), int(rng.integers(80, 125))
    samples = np.frombuffer(engine.speak(text), "<i2").astype(np.float32) / np.float32(32768)
    return resample(samples, RATE)
