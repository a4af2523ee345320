"""What the server tells Wyoming's clients of itself."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from .choice import Hearing, Speaking

_URL = "https://kyutai.org"


def info(hearing: Sequence[Hearing], speaking: Sequence[Speaking]) -> dict[str, Any]:
    """The data of `info`: a program that hears, one that speaks, and what of each is loaded."""
    models = [
        _artifact(offer.name, "Speech to text", languages=list(offer.runtime.info.languages))
        for offer in hearing
        if offer.runtime.info
    ]
    voices = [
        _artifact(voice, f"{offer.name}: {voice}", languages=list(offer.runtime.info.languages), speakers=None)
        for offer in speaking
        if offer.runtime.info
        for voice in _default_first(offer.runtime.info.voice, offer.runtime.info.voices) or [offer.name]
    ]
    asr = _artifact("vivavoce", "Live speech to text", models=models, supports_transcript_streaming=True)
    tts = _artifact("vivavoce", "Live text to speech", voices=voices, supports_synthesize_streaming=True)
    none: dict[str, list[Any]] = {kind: [] for kind in ("handle", "intent", "wake", "mic", "snd")}
    return {"asr": [asr] if models else [], "tts": [tts] if voices else [], **none}


def _default_first(default: str | None, voices: Sequence[str]) -> list[str]:
    return sorted(voices, key=lambda voice: voice != default)


def _artifact(name: str, description: str, **more: Any) -> dict[str, Any]:
    attribution = {"name": "Kyutai", "url": _URL}
    base = {"name": name, "attribution": attribution, "installed": True, "description": description}
    return {**base, "version": version("vivavoce"), **more}
