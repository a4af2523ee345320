"""The JSON messages that Deepgram's clients send: controls of /v1/listen and /v1/speak."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from vivavoce.core import Fault

from ..errors import Refused

LONGEST = 1 << 20  # characters


def control(text: str, types: tuple[str, ...]) -> dict[str, Any]:
    """An object whose `type` is one of those. Raises Refused(INVALID_MESSAGE)."""
    if len(text) > LONGEST:
        raise _bad(f"a message of {len(text)} characters; {LONGEST} is the most")
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        message = None
    if not isinstance(message, dict):
        raise _bad('a text message must be a JSON object like {"type": "' + types[0] + '"}')
    if message.get("type") not in types:
        raise _bad(f"unknown type {json.dumps(message.get('type'))[:40]}; the types are {', '.join(types)}")
    return message


def encode(message: dict[str, object]) -> str:
    """As text, compact."""
    return msgspec.json.encode(message).decode()


def _bad(why: str) -> Refused:
    return Refused(Fault.INVALID_MESSAGE, "schema", why)
