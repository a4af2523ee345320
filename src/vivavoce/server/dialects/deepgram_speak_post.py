"""POST /v1/speak: a text's speech as Deepgram's clients ask for it, sent while it is spoken."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from starlette.datastructures import QueryParams
from starlette.requests import Request

from vivavoce.audio.writer import BITS, Format
from vivavoce.core import Fault
from vivavoce.settings import ServeSettings

from ..credentials import QUERY_SECRETS
from ..errors import Refused
from ..gate import Gate
from .choice import Speaking, impossible, unsupported
from .deepgram_listen import DIALECT
from .deepgram_results import model_id
from .deepgram_speak import FREE, RATES, Voice, check_speed, rate_of, voice
from .openai_speech import Encoded
from .saying import SayingPost, Wish
from .spoken import read_body

PARAMETERS = ("model", "encoding", "container", "sample_rate", "bit_rate", "speed", "callback", "callback_method")
FORMATS: dict[tuple[str, str], tuple[Format, str]] = {  # encoding and container; the first container is the usual one
    ("mp3", "none"): ("mp3", "audio/mpeg"),
    ("linear16", "wav"): ("wav", "audio/wav"),
    ("linear16", "none"): ("pcm_s16le", "audio/l16"),
    ("mulaw", "wav"): ("wav_mulaw", "audio/wav"),
    ("mulaw", "none"): ("mulaw", "audio/mulaw"),
    ("alaw", "wav"): ("wav_alaw", "audio/wav"),
    ("alaw", "none"): ("alaw", "audio/alaw"),
    ("opus", "ogg"): ("opus", "audio/ogg"),
    ("flac", "none"): ("flac", "audio/flac"),
    ("aac", "none"): ("aac", "audio/aac"),
}
POST_RATES = {
    **RATES, "mp3": (24_000, 8_000, 16_000, 32_000, 48_000), "opus": (48_000,), "aac": (24_000, 8_000, 16_000, 48_000),
    "flac": (8_000, 16_000, 24_000, 32_000, 48_000),
}  # fmt: skip
LOSSY = ("mp3", "opus", "aac")
LEAST_BITS, MOST_BITS = 4_000, 192_000  # a second


@dataclass(frozen=True)
class Wanted:
    """One request's query."""

    voice: Voice
    format: Format
    media_type: str
    rate: int
    bits: int


def endpoint(speaking: Sequence[Speaking], gate: Gate, settings: ServeSettings) -> SayingPost:
    """POST /v1/speak."""

    async def read(request: Request) -> Wish:
        asked = wanted(request.query_params, speaking)
        text = _text(await read_body(request, settings.message_bytes))
        return Wish(text, asked.voice.offer, asked.voice.name, partial(_telling, asked, len(text)))

    return SayingPost(gate, settings, DIALECT, read)


def _telling(asked: Wanted, characters: int) -> Encoded:
    who = asked.voice
    headers = {
        "dg-request-id": str(uuid.uuid4()),
        "dg-model-name": who.name or who.offer.name,
        "dg-model-uuid": model_id(who.offer.name),
        "dg-char-count": str(characters),
    }
    return Encoded(asked.format, asked.media_type, headers, rate=asked.rate, bits=asked.bits)


def wanted(query: QueryParams, speaking: Sequence[Speaking]) -> Wanted:
    """What the query asks for. Raises Refused that names the parameter."""
    for name in query:
        if name not in (*PARAMETERS, *FREE, *QUERY_SECRETS):
            raise impossible(name, f"unknown parameter {name[:64]!r}", f"the parameters are {', '.join(PARAMETERS)}")
    if query.get("callback"):
        raise unsupported("callback", "callback: the answer goes to who asked")
    check_speed(query)
    encoding = query.get("encoding") or "mp3"
    containers = [container for known, container in FORMATS if known == encoding]
    if not containers:
        known = ", ".join(dict.fromkeys(name for name, _ in FORMATS))
        raise impossible("encoding", f"encoding must be one of {known}, got {encoding[:32]!r}")
    container = query.get("container") or containers[0]
    if container not in containers:
        why = f"container of {encoding} must be {' or '.join(containers)}, got {container[:32]!r}"
        raise impossible("container", why)
    coding, media_type = FORMATS[encoding, container]
    rate = rate_of(query, POST_RATES[encoding], encoding)
    return Wanted(voice(query, speaking), coding, media_type, rate, _bits(query, encoding))


def _bits(query: QueryParams, encoding: str) -> int:
    text = query.get("bit_rate")
    if not text:
        return BITS
    if encoding not in LOSSY:
        raise impossible("bit_rate", f"bit_rate: {encoding} has one of its own")
    bits = float(text) if text.replace(".", "", 1).isdigit() and len(text) < 20 else 0.0
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise impossible("bit_rate", f"bit_rate must be from {LEAST_BITS} to {MOST_BITS}, got {text[:32]!r}")
    return int(bits)


def _text(data: bytes) -> str:
    try:
        body = json.loads(data)
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise Refused(Fault.INVALID_MESSAGE, "json", f"the body is not JSON: {error}") from None
    for name in body if isinstance(body, dict) else ():
        if name != "text":
            raise impossible(
                name[:64], f"unknown field {name[:64]!r}", "the body has text alone; all else is in the query"
            )
    text = body.get("text") if isinstance(body, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise impossible("text", 'the body must be {"text": TEXT}, with a text that is not empty')
    return text
