"""/v1/speak: text to speech as Deepgram's clients speak it, live (docs/protocols.md)."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.audio.writer import Format
from vivavoce.core import SAMPLE_RATE, Cleared, Fault, Flushed, Speech, SpeechEvent, StreamError
from vivavoce.settings import ServeSettings

from ..credentials import QUERY_SECRETS
from ..errors import Refused
from ..gate import Gate
from ..journal import Journal
from . import deepgram_errors, speech_codec
from .caller import Caller
from .choice import Speaking, impossible, unsupported
from .deepgram_listen import DIALECT, subprotocol
from .deepgram_messages import control, encode
from .deepgram_results import model_id
from .dictation import Dictation
from .encoder import Encoder
from .msgpack import invalid
from .opening import open_speech, speech_options

CONTROLS = ("Speak", "Flush", "Clear", "Close")
LIVE: dict[str, Format] = {"linear16": "pcm_s16le", "mulaw": "mulaw", "alaw": "alaw"}
RATES = {"linear16": (8_000, 16_000, 24_000, 32_000, 48_000), "mulaw": (8_000, 16_000), "alaw": (8_000, 16_000)}
FREE = ("mip_opt_out", "tag")  # nothing is kept of a request, whoever asks for it


@dataclass(frozen=True)
class Voice:
    """Who speaks."""

    offer: Speaking
    name: str | None  # None is the module's own


def voice(query: QueryParams, speaking: Sequence[Speaking]) -> Voice:
    """`model` may be a voice, a model or a label. Deepgram's voices (aura-…) stand for the server's own.

    Raises Refused(UNKNOWN_MODEL).
    """
    name = query.get("model")
    for offer in speaking:
        if offer.runtime.info and name in offer.runtime.info.voices:
            return Voice(offer, name)
        if name in (offer.name, offer.module.label):
            return Voice(offer, None)
    if not name or name.startswith("aura-"):
        return Voice(speaking[0], None)
    known = [name for offer in speaking if offer.runtime.info for name in offer.runtime.info.voices]
    why = f"no voice is called {name[:64]!r}"
    raise Refused(Fault.UNKNOWN_MODEL, "model_not_found", why, f"there are: {', '.join(known[:20])}", param="model")


def check_speed(query: QueryParams) -> None:
    """Raises Refused for a speed but 1."""
    if query.get("speed") not in (None, "", "1", "1.0"):
        raise unsupported("speed", f"speed must be 1: the model has one speed, got {query['speed'][:32]!r}")


def rate_of(query: QueryParams, rates: Sequence[int], encoding: str) -> int:
    """The sample rate that is asked for. Raises Refused."""
    text = query.get("sample_rate")
    default = SAMPLE_RATE if SAMPLE_RATE in rates else rates[0]
    number = float(text) if text and text.replace(".", "", 1).isdigit() and len(text) < 20 else None
    if text and number not in rates:
        why = f"sample_rate of {encoding} must be one of {', '.join(map(str, rates))}, got {text[:32]!r}"
        raise impossible("sample_rate", why)
    return default if number is None else int(number)


class Speak:
    """The endpoint of the websocket."""

    def __init__(self, speaking: Sequence[Speaking], gate: Gate, settings: ServeSettings) -> None:
        self._speaking, self._gate, self._settings = speaking, gate, settings

    async def talk(self, websocket: WebSocket) -> None:
        """One connection; what keeps it from its stream is told before the upgrade, with a status."""
        with contextlib.ExitStack() as held:
            try:
                admitted = held.enter_context(await self._gate.admit(websocket, "tts"))
                query = websocket.query_params
                for name in query:
                    if name not in ("model", "encoding", "sample_rate", "speed", *FREE, *QUERY_SECRETS):
                        raise impossible(name, f"unknown parameter {name[:64]!r}")
                check_speed(query)
                who = voice(query, self._speaking)
                tongue = DeepgramTongue(query, who)
                options = speech_options(who.offer.module, voices=who.name and (who.name,))
                stream = open_speech(who.offer.runtime, options)
                held.callback(stream.close)
            except StreamError as error:
                await websocket.send_denial_response(deepgram_errors.response(error))
                return
            await websocket.accept(subprotocol(websocket), [(b"dg-request-id", tongue.request.encode())])
            caller = Caller(websocket, admitted, self._settings.send_seconds)
            try:
                with Journal(stream, who.offer.runtime.name, dialect=DIALECT, who=admitted.who) as journal:
                    await Dictation(caller, stream, tongue, journal).run()
                await caller.close()
            except StreamError as error:
                await caller.close(error, tongue.complaint(error), deepgram_errors.closing(error))
            except WebSocketDisconnect:
                pass


class DeepgramTongue:
    """JSON both ways, and audio in binary messages."""

    def __init__(self, query: QueryParams, who: Voice) -> None:
        self.request = str(uuid.uuid4())
        encoding = query.get("encoding") or "linear16"
        if encoding not in LIVE:
            raise impossible("encoding", f"encoding must be one of {', '.join(LIVE)}, got {encoding[:32]!r}")
        self._format, self._rate = LIVE[encoding], rate_of(query, RATES[encoding], encoding)
        self._encoder = Encoder(self._format, self._rate)
        self._who = who
        self._flushes = self._clears = 0

    def begin(self) -> Iterator[str]:
        """Metadata."""
        name = self._who.offer.name
        told = {"model_name": self._who.name or name, "model_version": "", "model_uuid": model_id(name)}
        yield encode({"type": "Metadata", "request_id": self.request, **told})

    def decode(self, message: bytes | str) -> speech_codec.Request:
        """One control. Raises StreamError(INVALID_MESSAGE)."""
        if isinstance(message, bytes):
            raise invalid("messages are JSON texts, not binary")
        said = control(message, CONTROLS)
        match said["type"]:
            case "Speak":
                if not isinstance(text := said.get("text"), str):
                    raise invalid("Speak.text must be a text")
                return speech_codec.Text(text, whole=False)
            case "Flush":
                self._flushes += 1
                return speech_codec.Flush(self._flushes - 1)
            case "Clear":
                return speech_codec.Clear()
        return speech_codec.Eos()

    def tell(self, event: SpeechEvent) -> Iterator[bytes | str]:
        """Audio, and the answers to Flush and Clear."""
        match event:
            case Speech(samples):
                yield from self._audio(self._encoder.encode(samples))
            case Flushed(id):
                yield from self._audio(self._encoder.close())
                self._encoder = Encoder(self._format, self._rate)
                yield encode({"type": "Flushed", "sequence_id": id})
            case Cleared():
                self._encoder = Encoder(self._format, self._rate)
                yield encode({"type": "Cleared", "sequence_id": self._clears})
                self._clears += 1

    def complaint(self, error: StreamError) -> str:
        """A Warning."""
        code = deepgram_errors.CODES[error.fault][0]
        return encode({"type": "Warning", "description": deepgram_errors.message(error), "code": code})

    def _audio(self, data: bytes) -> Iterator[bytes]:
        if data:
            yield data
