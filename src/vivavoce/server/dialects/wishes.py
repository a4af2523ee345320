"""What a caller of /v1/stream may ask for in the query, and a clear refusal of everything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from starlette.datastructures import QueryParams

from vivavoce.core import SAMPLE_RATE, Fault, Refused
from vivavoce.session.guard import GUARDS

from ..credentials import QUERY_SECRETS
from .sound import Format

LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000  # Hz
IDLE_SECONDS = 10.0


@dataclass(frozen=True)
class Wishes:
    """One connection's query; None leaves the choice to the server. Fields are the parameters."""

    format: Format = "pcm_f32le"
    sample_rate: int = SAMPLE_RATE
    words: bool = False
    vad: bool = False
    vad_head: int | None = None
    vad_threshold: float | None = None
    temperature: float | None = None
    seed: int | None = None
    idle: float = IDLE_SECONDS
    resume: bool = False
    session: str | None = None
    seq: int = 0
    refusal: str = "status"  # of the handshake; or "close": accepted, told and closed, since browsers hide a status
    guard: str = "flag"
    keyterm: tuple[str, ...] = ()  # may be there many times


def wishes(query: QueryParams) -> Wishes:
    """Raises Refused (400) that names the parameter, what it may be, and what it was."""
    asked: dict[str, Any] = {}
    refuse_others(query, *_READERS)
    for name, text in query.multi_items():
        if name in QUERY_SECRETS:
            continue
        if name in asked and name != "keyterm":
            raise _refused(f"the parameter {name} is there twice")
        value = _READERS[name](name, text)
        asked[name] = (*asked.get(name, ()), value) if name == "keyterm" else value
    return _consistent(asked)


def refuse_others(query: QueryParams, *names: str) -> None:
    """Raises Refused (400) that names what is neither one of these parameters nor a key."""
    for name in query:
        if name not in names and name not in QUERY_SECRETS:
            hint = f"the parameters are {', '.join(names)}" if names else "what is wanted stands in the body"
            raise _refused(f"unknown parameter {name[:64]!r}", hint)


def some_of(query: QueryParams, *names: str) -> dict[str, Any]:
    """Those of these parameters that are there; all others are passed over. Raises Refused as `wishes`."""
    for name in names:
        if len(query.getlist(name)) > 1:
            raise _refused(f"the parameter {name} is there twice")
    return {name: _READERS[name](name, query[name]) for name in names if name in query}


def asks_to_be_told(query: QueryParams) -> bool:
    """Whether a refusal is to come as an error and a close, whatever else the query says."""
    return query.get("refusal") == "close"


def _consistent(asked: dict[str, Any]) -> Wishes:
    kind = asked.get("format")
    if kind == "opus" and "sample_rate" in asked:
        raise _refused("sample_rate cannot be given with format=opus, which has its own")
    if kind in ("mulaw", "alaw"):
        asked.setdefault("sample_rate", 8_000)
    found = Wishes(**asked)
    if found.resume and kind == "opus":
        raise _refused("resume cannot be asked for with format=opus: its bytes are not samples to go on from")
    if not found.resume and ("session" in asked or "seq" in asked):
        raise _refused("session and seq need resume=true")
    if "seq" in asked and found.session is None:
        raise _refused("seq needs the session that it belongs to")
    return found


def _refused(detail: str, hint: str = "") -> Refused:
    return Refused(Fault.INVALID_PARAMETER, "invalid_parameter", detail, hint)


def _one_of(*values: str) -> Callable[[str, str], str]:
    def read(name: str, text: str) -> str:
        if text not in values:
            raise _refused(f"{name} must be {', '.join(values[:-1])} or {values[-1]}, got {text[:32]!r}")
        return text

    return read


def _flag(name: str, text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise _refused(f"{name} must be true or false, got {text[:32]!r}")
    return values[text.lower()]


def _integer(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
        if value is None or not low <= value <= high:
            raise _refused(f"{name} must be a whole number from {low} to {high}, got {text[:32]!r}")
        return value

    return read


def _number(low: float, high: float) -> Callable[[str, str], float]:
    def read(name: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise _refused(f"{name} must be a number from {low:g} to {high:g}, got {text[:32]!r}")
        return value

    return read


def _name(name: str, text: str) -> str:
    if not text or len(text) > 64:
        raise _refused(f"{name} must be the session of a ready message")
    return text


_READERS: dict[str, Callable[[str, str], Any]] = {
    "format": _one_of(*get_args(Format)),
    "sample_rate": _integer(LOWEST_RATE, HIGHEST_RATE),
    "words": _flag,
    "vad": _flag,
    "vad_head": _integer(0, 63),
    "vad_threshold": _number(0, 1),
    "temperature": _number(0, 10),
    "seed": _integer(0, 2**63 - 1),
    "guard": _one_of(*GUARDS),
    "idle": _number(0.1, 86_400),
    "resume": _flag,
    "refusal": _one_of("status", "close"),
    "session": _name,
    "seq": _integer(0, 2**63 - 1),
    "keyterm": lambda _, text: text,
}
