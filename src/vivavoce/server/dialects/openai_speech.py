"""POST /v1/audio/speech: a text's speech as OpenAI's clients ask for it, sent while it is spoken."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from starlette.requests import Request

from vivavoce.core import Fault, Speech, SpeechEvent
from vivavoce.settings import ServeSettings

from ..errors import Refused
from ..gate import Gate
from .choice import Speaking, choose, impossible, unsupported
from .encoder import Encoder
from .encoder import Format as Encoding
from .openai_transcription import DIALECT, sse
from .saying import SayingPost, Wish
from .spoken import Telling, read_body
from .wishes import refuse_others

MODELS = ("tts-1", "tts-1-hd")
MODEL_FAMILIES = ("gpt-4o-mini-tts",)
VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
FIELDS = ("input", "model", "voice", "instructions", "response_format", "speed", "stream_format")
MEDIA_TYPES = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav",
    "pcm": "audio/pcm",
}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What one body asks for."""

    text: str
    offer: Speaking
    voice: str | None  # None is the module's own
    format: Format
    events: bool


def endpoint(speaking: Sequence[Speaking], gate: Gate, settings: ServeSettings) -> SayingPost:
    """POST /v1/audio/speech."""

    async def read(request: Request) -> Wish:
        refuse_others(request.query_params)
        data = await read_body(request, settings.message_bytes)
        order = await asyncio.to_thread(order_of, data, speaking)
        return Wish(order.text, order.offer, order.voice, partial(_telling, order))

    return SayingPost(gate, settings, DIALECT, read)


def order_of(data: bytes, speaking: Sequence[Speaking]) -> Order:
    """What a body asks for. Raises Refused."""
    try:
        body = json.loads(data)
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise Refused(Fault.INVALID_MESSAGE, "json", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused(Fault.INVALID_MESSAGE, "json", "the body must be an object")
    for name in body:
        if name not in FIELDS:
            raise impossible(name, f"unknown field {name[:64]!r}", f"the fields are {', '.join(FIELDS)}")
    offer = choose(speaking, _text(body, "model"), lambda name: name in MODELS or name.startswith(MODEL_FAMILIES))
    if body.get("instructions"):
        raise unsupported("instructions", "instructions: the model cannot be told how to speak", "choose another voice")
    if body.get("speed") not in (None, 1):
        raise unsupported("speed", f"speed must be 1: the model has one speed, got {json.dumps(body['speed'])[:32]}")
    events = _one_of(body, "stream_format", ("audio", "sse")) == "sse"
    coding = _one_of(body, "response_format", get_args(Format))
    return Order(_text(body, "input"), offer, _voice(body, offer), coding, events)  # type: ignore[arg-type]


def _voice(body: dict[str, Any], offer: Speaking) -> str | None:
    """None, which is the server's own choice, for the names of OpenAI's voices unless one here is called so."""
    value = body.get("voice")
    name = value.get("id") if isinstance(value, dict) else value
    if not isinstance(name, str) or not name:
        raise impossible("voice", 'voice must be the name of a voice, or {"id": NAME}', _voices(offer))
    return None if name in VOICES and not (offer.runtime.info and name in offer.runtime.info.voices) else name


def _voices(offer: Speaking) -> str:
    known = offer.runtime.info.voices if offer.runtime.info else ()
    return f"there are: {', '.join(known[:20])}" if known else ""


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise impossible(name, f"{name} must be a text that is not empty")
    return value


def _one_of(body: dict[str, Any], name: str, values: Sequence[str]) -> str:
    value = body.get(name) or values[0]
    if value not in values:
        raise impossible(name, f"{name} must be one of {', '.join(values)}, got {json.dumps(value)[:32]}")
    return str(value)


def _telling(order: Order) -> Telling:
    audio = Encoded("pcm_s16le" if order.format == "pcm" else order.format, MEDIA_TYPES[order.format])
    return _Events(audio) if order.events else audio


class Encoded:
    """The audio itself."""

    def __init__(self, format: Encoding, media_type: str, headers: Mapping[str, str] = {}, **how: int) -> None:
        self.media_type, self.headers = media_type, headers
        self._encoder = Encoder(format, **how)

    def begin(self) -> bytes:
        """Nothing: headers of a format come with its first audio."""
        return b""

    def tell(self, event: SpeechEvent) -> bytes:
        """What became ready."""
        return self._encoder.encode(event.samples) if isinstance(event, Speech) else b""

    def end(self) -> bytes:
        """The rest."""
        return self._encoder.close()


class _Events:
    """The audio in server-sent events."""

    media_type, headers = "text/event-stream", {"cache-control": "no-cache"}

    def __init__(self, audio: Encoded) -> None:
        self._audio = audio

    def begin(self) -> bytes:
        return b""

    def tell(self, event: SpeechEvent) -> bytes:
        return self._delta(self._audio.tell(event))

    def end(self) -> bytes:
        return self._delta(self._audio.end()) + sse({"type": "speech.audio.done"})

    def _delta(self, data: bytes) -> bytes:
        message = {"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()}
        return sse(message) if data else b""
