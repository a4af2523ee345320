"""/v1/listen: speech to text as Deepgram's clients speak it, live (docs/protocols.md)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import Fault, InvalidAudioError, KeyTerm, StreamError, UnsupportedError, seconds
from vivavoce.runtime import Stream
from vivavoce.session.activity import Began, VoiceActivity
from vivavoce.settings import ServeSettings

from ..credentials import SCHEMES
from ..gate import Gate
from ..journal import Journal
from . import deepgram_errors
from .caller import Caller, first_of
from .channels import Channels
from .choice import Hearing, key_terms
from .deepgram_messages import control, encode
from .deepgram_results import Results, model, model_id
from .deepgram_wishes import FREE, Wishes, wishes
from .msgpack import invalid
from .opening import open_stream, options_of
from .sound import Samples

logger = logging.getLogger(__name__)
DIALECT = "deepgram"
MOST_BAD_MESSAGES = 20  # in a row
IDLE_SECONDS = 10.0
SHORTEST_PAUSE = 0.2  # seconds: a shorter one stands within words
CONTROLS = ("KeepAlive", "Finalize", "CloseStream", "Configure")


def subprotocol(websocket: WebSocket) -> str | None:
    """The one to answer with when a browser has put its key there."""
    offered: Sequence[str] = websocket.scope["subprotocols"]
    return offered[0] if offered and offered[0].lower() in SCHEMES else None


class Listen:
    """The endpoint of the websocket."""

    def __init__(self, hearing: Sequence[Hearing], gate: Gate, settings: ServeSettings) -> None:
        self._hearing, self._gate, self._settings = hearing, gate, settings

    async def talk(self, websocket: WebSocket) -> None:
        """One connection; what keeps it from its streams is told before the upgrade, with a status."""
        with contextlib.ExitStack() as held:
            try:
                admitted = held.enter_context(await self._gate.admit(websocket, "stt"))
                asked = wishes(websocket.query_params, self._hearing, live=True)
                streams = _opened(asked, held)
            except StreamError as error:
                await websocket.send_denial_response(deepgram_errors.response(error))
                return
            request = str(uuid.uuid4())
            await websocket.accept(subprotocol(websocket), [(b"dg-request-id", request.encode())])
            caller = Caller(websocket, admitted, self._settings.send_seconds)
            with contextlib.suppress(WebSocketDisconnect):
                await Conversation(caller, streams, asked, self._settings, request).run()


def _opened(asked: Wishes, held: contextlib.ExitStack) -> list[Stream]:
    """All of them or none: what was opened is closed with `held`."""
    streams = []
    for _ in range(asked.streams):
        options = options_of(asked.offer.module, key_terms=asked.key_terms)
        streams.append(open_stream(asked.offer.runtime, options))
        held.callback(streams[-1].close)
    return streams


class Conversation:
    """One connection: a stream for each channel that is heard by itself."""

    def __init__(
        self, caller: Caller, streams: Sequence[Stream], asked: Wishes, settings: ServeSettings, request: str
    ) -> None:
        info = asked.offer.runtime.info
        assert info, "a stream was opened on a model that is not loaded"
        self._caller, self._streams, self._asked, self._request = caller, streams, asked, request
        self._idle_seconds = min(IDLE_SECONDS, settings.idle_seconds)
        self._results = [Results(asked, number, info.delay_seconds, request) for number in range(len(streams))]
        self._patience = max(SHORTEST_PAUSE, asked.endpointing or 0.0)
        self._activities = [VoiceActivity(silence=self._patience) for _ in streams]
        self._sound = asked.format and Channels(
            asked.format, asked.sample_rate, asked.channels, mixed=not asked.multichannel
        )
        self._sha, self._created = hashlib.sha256(), datetime.now(UTC)
        self._ended = False
        self._bad = 0  # messages in a row

    async def run(self) -> None:
        """Until all was said. Raises WebSocketDisconnect; a fault is told the client."""
        try:
            silent = f"neither audio nor KeepAlive for {self._idle_seconds:g} s"
            for stream in self._streams:
                stream.idle_after(self._idle_seconds, StreamError(Fault.CLIENT_TIMEOUT, silent))
            await first_of(self._speak_all(), self._listen())
            await self._say(self._metadata())
            await self._caller.close()
        except StreamError as error:
            told = {"type": "Error", "variant": error.fault.name.lower(), "description": deepgram_errors.message(error)}
            await self._caller.close(error, encode(dict(told)), deepgram_errors.closing(error))

    # --- from the client ---

    async def _listen(self) -> None:
        while True:
            message = await self._caller.hear()
            try:
                await self._heed(message)
                self._bad = 0
            except InvalidAudioError as error:
                await self._complain(invalid(str(error)), message)
            except StreamError as error:
                if error.fault is not Fault.INVALID_MESSAGE:
                    raise
                await self._complain(error, message)

    async def _heed(self, message: bytes | str) -> None:
        if isinstance(message, str):
            await self._obey(control(message, CONTROLS))
        elif self._ended:
            raise invalid("audio after CloseStream: the stream has ended")
        elif not message:  # how clients once closed a stream
            await self._end()
        else:
            self._sha.update(message)
            for blocks in self._reader(message).read(message):
                await self._push(blocks)

    def _reader(self, first: bytes) -> Channels:
        if not self._sound:
            self._sound = _by_container(first)
        return self._sound

    async def _obey(self, message: dict[str, object]) -> None:
        match message["type"]:
            case "KeepAlive":
                for stream in self._streams:
                    stream.keepalive()
            case "Configure":
                await self._say(self._configured(message))
            case _ if self._ended:
                raise invalid("the stream has ended: nothing but KeepAlive is taken after CloseStream")
            case "Finalize":
                await self._finalize(message.get("channel"))
            case "CloseStream":
                await self._end()

    async def _finalize(self, channel: object) -> None:
        if channel is not None and not (isinstance(channel, int) and 0 <= channel < len(self._streams)):
            raise invalid(f"channel must be from 0 to {len(self._streams) - 1}, got {str(channel)[:32]}")
        await self._push_rest()
        for number, stream in enumerate(self._streams):
            if channel in (None, number):
                self._results[number].finalizing(seconds(stream.received), self._activities[number].speaking)
                stream.flush(0)

    async def _end(self) -> None:
        await self._push_rest()
        self._ended = True
        for stream in self._streams:
            stream.end()

    def _configured(self, message: dict[str, object]) -> dict[str, object]:
        failed = {"type": "ConfigureFailure", "request_id": self._request}
        terms, features = message.get("keyterms"), message.get("features")
        wanted = [name for name, on in features.items() if on] if isinstance(features, dict) else []
        if unknown := [name for name in wanted if name not in FREE]:
            why = f"{unknown[0]}: text stays as the model writes it"
            return {**failed, "code": "CONFIGURE_FEATURES_NOT_SUPPORTED", "description": why}
        success: dict[str, object] = {"type": "ConfigureSuccess", "request_id": self._request}
        if terms is None:
            return success
        try:
            told = self._expect([str(term) for term in terms] if isinstance(terms, list) else [str(terms)])
        except (StreamError, UnsupportedError) as error:
            return {**failed, "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED", "description": str(error)}
        return {**success, "keyterms": [term.text for term in told]}

    def _expect(self, terms: Sequence[str]) -> tuple[KeyTerm, ...]:
        """Key terms instead of those before. Raises StreamError, UnsupportedError."""
        told = key_terms("keyterms", self._asked.offer, map(KeyTerm, terms))
        for stream in self._streams:
            if told != stream.options.key_terms:
                stream.expect(told)
        return told

    async def _push_rest(self) -> None:
        if self._sound:
            await self._push(self._sound.rest())

    async def _push(self, blocks: Sequence[Samples]) -> None:
        for number, samples in enumerate(blocks):
            if not len(samples):
                continue
            for event in self._activities[number].push(samples):
                known = seconds(event.known)
                if not isinstance(event, Began):
                    self._results[number].stopped(known - self._patience, known)
                elif self._asked.vad_events:
                    started = {"type": "SpeechStarted", "channel": [number, len(blocks)]}
                    await self._say({**started, "timestamp": round(seconds(event.start), 5)})
            await self._caller.admitted.pay(len(samples))
            await self._streams[number].push(samples)

    async def _complain(self, error: StreamError, message: bytes | str) -> None:
        self._bad += 1
        if self._bad >= MOST_BAD_MESSAGES:
            raise invalid(f"{self._bad} bad messages in a row; the last: {error}")
        logger.info("A bad message: %s", error)
        told = {"type": "Error", "variant": "SchemaError", "description": str(error)}
        await self._say(dict(told) if isinstance(message, bytes) else {**told, "message": message[:200]})

    # --- to the client ---

    async def _speak_all(self) -> None:
        speaking = [asyncio.ensure_future(self._speak(number)) for number in range(len(self._streams))]
        try:
            await asyncio.gather(*speaking)
        finally:
            for task in speaking:
                task.cancel()

    async def _speak(self, number: int) -> None:
        stream, results = self._streams[number], self._results[number]
        with Journal(stream, self._asked.offer.runtime.name, dialect=DIALECT, who=self._caller.who) as journal:
            async for event in stream.events():
                journal.saw(event)
                for message in results.tell(event):
                    await self._say(message)
            for message in results.last(seconds(stream.received)):
                await self._say(message)

    def _metadata(self) -> dict[str, object]:
        heard = max(seconds(stream.received) for stream in self._streams)
        channels = len(self._streams)
        told = metadata(self._asked, self._request, self._sha.hexdigest(), self._created, heard, channels)
        return {"type": "Metadata", **told}

    async def _say(self, message: dict[str, object]) -> None:
        await self._caller.say(encode(message))


def metadata(
    asked: Wishes, request: str, sha256: str, created: datetime, duration: float, channels: int
) -> dict[str, object]:
    """The account of one request."""
    name = asked.offer.name
    found: dict[str, object] = {
        "transaction_key": "deprecated",
        "request_id": request,
        "sha256": sha256,
        "created": created.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "duration": round(duration, 5),
        "channels": channels,
        "models": [model_id(name)],
        "model_info": {model_id(name): model(asked)["model_info"]},
    }
    if asked.tags:
        found["tags"] = list(asked.tags)
    return {**found, "extra": asked.extra} if asked.extra else found


def _by_container(first: bytes) -> Channels:
    if first.startswith(b"OggS"):
        return Channels("opus", 0, 1, mixed=True)
    hint = "say encoding and sample_rate for samples without a container"
    raise StreamError(Fault.INVALID_MESSAGE, f"only Ogg/Opus is taken live in a container; {hint}")
