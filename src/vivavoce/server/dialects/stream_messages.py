"""The JSON messages of /v1/stream: events and signals out, controls in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from vivavoce.core import (
    Event,
    Flushed,
    Healed,
    StreamError,
    Token,
    Transcript,
    TurnEnded,
    TurnResumed,
    TurnStarted,
    Vad,
    Word,
    WordDropped,
    WordEnded,
    WordStarted,
)

from ..errors import body
from .msgpack import invalid
from .wishes import Wishes

LONGEST_CONTROL = 4_096  # characters
LONGEST_ID = 256  # characters of a flush's id


@dataclass(frozen=True)
class FlushControl:
    """Everything said so far, now."""

    id: int | str


@dataclass(frozen=True)
class EndControl:
    """No more audio will come."""


@dataclass(frozen=True)
class KeepAlive:
    """The caller is there, though it sends no audio."""


Control = FlushControl | EndControl | KeepAlive


def control(text: str) -> Control:
    """A text frame. Raises StreamError(INVALID_MESSAGE)."""
    if text.strip() == "EOS":
        return EndControl()
    message = _object(text)
    match message.get("type"):
        case "flush":
            return FlushControl(_id(message.get("id", 0)))
        case "eos":
            return EndControl()
        case "keepalive":
            return KeepAlive()
        case other:
            raise invalid(f"unknown type {json.dumps(other)[:40]}; the controls are flush, eos and keepalive")


def _object(text: str) -> dict[str, Any]:
    if len(text) > LONGEST_CONTROL:
        raise invalid(f"a control of {len(text)} characters; {LONGEST_CONTROL} is the most")
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        message = None
    if not isinstance(message, dict):
        raise invalid('a text message must be a JSON object like {"type":"flush"}; audio is sent in binary messages')
    return message


def _id(id: object) -> int | str:
    if isinstance(id, str) and len(id) <= LONGEST_ID:
        return id
    if isinstance(id, int) and not isinstance(id, bool) and -(2**63) <= id < 2**63:
        return id
    raise invalid(f"the id of a flush must be an integer of 64 bits or a text of at most {LONGEST_ID} characters")


def event(event: Event, asked: Wishes) -> dict[str, object] | None:
    """What to tell of an event; None when it was not asked for."""
    match event:
        case Vad(time, pauses):  # first, as it is the most
            if not asked.vad:
                return None
            return {"type": "vad", "time": _time(time), "pauses": [round(pause, 4) for pause in pauses]}
        case Token(text, start):
            return {"type": "token", "text": text, "start": _time(start)}
        case WordStarted(text, start, confidence, suspect) if asked.words:
            told = {"type": "word_start", "text": text, "start": _time(start), "confidence": round(confidence, 4)}
            return told if suspect is None else {**told, "suspect": suspect}
        case WordEnded(word) if asked.words:
            return {"type": "word", **word_map(word)}
        case WordDropped(word):
            return {"type": "word_dropped", **word_map(word)}
        case TurnStarted(time):
            return {"type": "vad_start", "time": _time(time)}
        case TurnEnded(time):
            return {"type": "vad_end", "time": _time(time)}
        case TurnResumed(time):
            return {"type": "vad_resume", "time": _time(time)}
        case Flushed(id):
            return {"type": "flushed", "id": id}
        case Healed(time, silent):
            return {"type": "healed", "time": _time(time), "silent": _time(silent)}
    return None


def word_map(word: Word) -> dict[str, object]:
    """A word and its times, and why it is suspect, if it is."""
    times = {"start": _time(word.start), "stop": _time(word.stop)}
    told = {"text": word.text, **times, "confidence": round(word.confidence, 4)}
    return told if word.suspect is None else {**told, "suspect": word.suspect}


def transcript(heard: Transcript, drops: bool) -> dict[str, object]:
    """A whole recording; `drops`: with the suspects that are not among the words."""
    words = [word_map(word) for word in heard]
    told = {"text": heard.text, "words": words, "duration": round(heard.duration, 3)}
    return {**told, "dropped": [word_map(word) for word in heard.dropped]} if drops else told


def error(error: StreamError) -> dict[str, object]:
    """A complaint, or the last message before a close."""
    message: dict[str, object] = {"type": "error", "code": error.fault.name.lower(), "message": str(error)}
    if hint := body(error)["hint"]:
        message["hint"] = hint
    if error.retry_after is not None:
        message["retry_after"] = error.retry_after
    return message


def _time(seconds: float) -> float:
    return round(seconds, 5)  # finer than a sample


encode = msgspec.json.Encoder().encode  # as UTF-8, compact
