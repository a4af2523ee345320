"""What a caller of text to speech may ask for in the query, and a clear refusal of what cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from starlette.datastructures import QueryParams

from vivavoce.core import Fault, Refused

from ..credentials import QUERY_SECRETS

Format = Literal["Pcm", "PcmMessagePack", "OggOpus", "OggOpusMessagePack"]
LARGEST_SEED = 2**64  # of moshi-server; ours have 63 bits


@dataclass(frozen=True)
class SpeechWishes:
    """One caller's; None leaves the choice to the server. Fields are the query's parameters."""

    format: Format = "OggOpus"
    voice: str | None = None
    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    cfg_alpha: float | None = None

    @property
    def options(self) -> dict[str, object]:
        """As `SpeechOptions` has them. 0 and below, and one candidate, mean the likeliest, as in moshi-server."""
        greedy = (self.top_k is not None and self.top_k <= 1) or (self.temperature is not None and self.temperature < 0)
        return {
            "voices": None if not self.voice else (self.voice,),
            "seed": None if self.seed is None else self.seed % 2**63,
            "temperature": 0.0 if greedy else self.temperature,
            "top_k": None if greedy else self.top_k,
            "cfg": self.cfg_alpha,
        }


def speech_wishes(query: QueryParams) -> SpeechWishes:
    """Names of no parameters are passed over, as moshi-server does. Raises Refused (400) for impossible values."""
    asked: dict[str, Any] = {}
    for name, text in query.multi_items():
        if name in asked or (name in QUERY_SECRETS and len(query.getlist(name)) > 1):
            raise refused(f"the parameter {name} is there twice")
        if name == "voices":
            raise refused("voices cannot be given in a query", "give one voice, or voices in the body of a POST")
        if name in _READERS:
            asked[name] = _READERS[name](name, text)
    return SpeechWishes(**asked)


def refused(why: str, hint: str = "") -> Refused:
    return Refused(Fault.INVALID_PARAMETER, "invalid_parameter", why, hint)


def _format(name: str, text: str) -> str:
    if text not in (allowed := get_args(Format)):
        raise refused(f"{name} should be one of {', '.join(allowed)}, got {text[:32]!r}")
    return text


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise refused(f"{name} should be a number, got {text[:32]!r}")
    return value


def _integer(most: int) -> Callable[[str, str], int]:
    def read(name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 24 and int(text) < most):
            raise refused(f"{name} should be an integer from 0 to {most - 1}, got {text[:32]!r}")
        return int(text)

    return read


def _text(_: str, text: str) -> str:
    return text


_READERS: dict[str, Callable[[str, str], Any]] = {
    "format": _format,
    "voice": _text,
    "seed": _integer(LARGEST_SEED),
    "temperature": _number,
    "top_k": _integer(2**31),
    "cfg_alpha": _number,
}
