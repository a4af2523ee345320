"""/v1/realtime: OpenAI's realtime transcription sessions (docs/protocols.md)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import (
    FRAME_RATE,
    FRAME_SIZE,
    SAMPLE_RATE,
    Fault,
    Flushed,
    InvalidAudioError,
    StreamError,
    Token,
    UnsupportedError,
    Vad,
    seconds,
)
from vivavoce.runtime import Stream
from vivavoce.session.activity import Began, VoiceActivity
from vivavoce.settings import ServeSettings

from ..credentials import QUERY_SECRETS
from ..errors import Refused
from ..gate import Gate
from ..journal import Journal
from . import openai_errors
from .caller import Caller, first_of
from .choice import Hearing, choose, impossible, unsupported
from .msgpack import invalid
from .openai_form import is_openai_model
from .openai_session import (
    Append,
    Clear,
    Commit,
    Pcm,
    Pcmu,
    Said,
    SemanticVad,
    ServerVad,
    Settings,
    Update,
    event_id,
    said,
)
from .openai_transcription import DIALECT, logprobs
from .opening import open_stream, options_of
from .sound import Samples, Sound, sound

logger = logging.getLogger(__name__)
PROTOCOL = "realtime"
MOST_BAD_MESSAGES = 20  # in a row
SHORTEST_COMMIT = 0.1  # seconds
EAGERNESS = {"high": 0, "medium": None, "auto": None, "low": -1}  # which pause head; None: the module's own
_ITEM = "conversation.item.input_audio_transcription."


def is_realtime_model(name: str) -> bool:
    """Whether OpenAI has realtime sessions with a model of this name."""
    return is_openai_model(name) or name.startswith(("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime"))


class Realtime:
    """The endpoint."""

    def __init__(self, hearing: Sequence[Hearing], gate: Gate, settings: ServeSettings) -> None:
        self._hearing, self._gate, self._settings = hearing, gate, settings

    async def talk(self, websocket: WebSocket) -> None:
        """One connection; what keeps it from a stream is told before the upgrade, with a status."""
        try:
            admitted = await self._gate.admit(websocket, "stt")
        except StreamError as error:
            await websocket.send_denial_response(openai_errors.response(error))
            return
        with admitted:
            try:
                offer = self._chosen(websocket)
                stream = open_stream(offer.runtime, options_of(offer.module))
            except StreamError as error:
                await websocket.send_denial_response(openai_errors.response(error))
                return
            try:
                await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
                caller = Caller(websocket, admitted, self._settings.send_seconds)
                with Journal(stream, offer.runtime.name, dialect=DIALECT, who=admitted.who) as journal:
                    await Conversation(caller, stream, offer, self._hearing, self._settings, journal).run()
            except WebSocketDisconnect:
                pass
            finally:
                stream.close()

    def _chosen(self, websocket: WebSocket) -> Hearing:
        if "openai-beta" in websocket.headers or any(
            name.startswith("openai-beta") for name in websocket.scope["subprotocols"]
        ):
            why = "the beta of the realtime API is not spoken, only its present shape"
            raise Refused(Fault.INVALID_PARAMETER, "beta_api_shape_disabled", why, "leave OpenAI-Beta out")
        query = websocket.query_params
        for name in query:
            if name not in ("model", "intent", *QUERY_SECRETS):
                raise impossible(name, f"unknown parameter {name[:64]!r}", "the parameters are model and intent")
        if query.get("intent", "transcription") != "transcription":
            raise impossible("intent", f"intent must be transcription, got {query['intent'][:64]!r}")
        return choose(self._hearing, query["model"], is_realtime_model) if "model" in query else self._hearing[0]


@dataclass
class Item:
    """What is said between two commits."""

    id: str = field(default_factory=lambda: f"item_{secrets.token_hex(10)}")
    began: int = 0  # samples
    ended: int = 0
    until: float | None = None  # seconds: words from there on are the next item's; None: those behind its flush are
    dropped: bool = False
    flushed: bool = False  # the flush was asked for
    pieces: list[Token] = field(default_factory=list)
    announced: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


class Conversation:
    """One connection."""

    def __init__(
        self,
        caller: Caller,
        stream: Stream,
        offer: Hearing,
        hearing: Sequence[Hearing],
        settings: ServeSettings,
        journal: Journal,
    ) -> None:
        assert offer.runtime.info, "a stream was opened on a model that is not loaded"
        self._caller, self._stream, self._offer, self._hearing, self._journal = caller, stream, offer, hearing, journal
        self._lag = offer.runtime.info.delay_seconds + 2 / FRAME_RATE  # after which the words of a moment are told
        self._module_head = offer.runtime.info.vad_head if stream.options.vad_head is None else stream.options.vad_head
        self._id = f"sess_{secrets.token_hex(10)}"
        lasts = settings.session_seconds
        self._expires = int(time.time() + lasts) if lasts else None
        self._item = Item()
        self._last: str | None = None  # the last committed one's id
        self._pending = deque[Item]()  # committed or dropped, not all of their words told
        self._speaking = False  # as the pause heads hear it
        self._bad = 0  # messages in a row
        self._adopt(Settings.of(offer))

    async def run(self) -> None:
        """Until the client has gone. Raises WebSocketDisconnect, and StreamError once the client has been told."""
        try:
            await self._say("session.created", session=self._settings.described(self._id, self._expires))
            await first_of(self._speak(), self._listen())
            await self._caller.close()
        except StreamError as error:
            await self._caller.close(error, self._encoded("error", error=openai_errors.fields(error)))

    def _adopt(self, settings: Settings) -> None:
        self._settings = settings
        coding = {Pcm: "pcm_s16le", Pcmu: "mulaw"}.get(type(settings.format), "alaw")
        self._sound: Sound = sound(coding, SAMPLE_RATE if isinstance(settings.format, Pcm) else 8_000)  # type: ignore[arg-type]
        turns = settings.turn_detection
        self._activity = (
            VoiceActivity(turns.threshold, turns.silence_duration_ms / 1000, self._stream.received)
            if isinstance(turns, ServerVad)
            else None
        )

    # --- from the client ---

    async def _listen(self) -> None:
        while True:
            message = await self._caller.hear()
            self._stream.keepalive()
            try:
                await self._heed(said(message))
                self._bad = 0
            except (StreamError, InvalidAudioError) as error:
                await self._complain(error, message)

    async def _complain(self, error: StreamError | InvalidAudioError, message: bytes | str) -> None:
        told = error if isinstance(error, StreamError) else invalid(str(error))
        if told.fault.status != 400:
            raise told
        self._bad += 1
        if self._bad >= MOST_BAD_MESSAGES:
            raise invalid(f"{self._bad} bad messages in a row; the last: {told}")
        logger.info("A bad message: %s", told)
        await self._say("error", error={**openai_errors.fields(told), "event_id": event_id(message)})

    async def _heed(self, message: Said) -> None:
        match message:
            case Append(audio=audio):
                for samples in self._sound.read(_bytes(audio)):
                    await self._push(samples)
            case Commit():
                await self._push(self._sound.rest())
                if seconds(self._stream.received - self._item.began) < SHORTEST_COMMIT:
                    raise _nothing_to_commit(self._stream.received - self._item.began)
                await self._commit()
            case Clear():
                self._part_from_item(dropped=True)
                self._adopt(self._settings)
                await self._say("input_audio_buffer.cleared")
            case Update(session=session):
                settings = self._settings.changed(session, self._offer, self._is_its_name)
                self._expect(settings)
                await self._push(self._sound.rest())
                self._speaking = False
                self._adopt(settings)
                await self._say("session.updated", session=settings.described(self._id, self._expires))

    def _expect(self, settings: Settings) -> None:
        """Key terms, before the first audio. Raises Refused."""
        if settings.key_terms != self._settings.key_terms:
            try:
                self._stream.expect(settings.key_terms)
            except UnsupportedError as error:
                raise unsupported("session.audio.input.transcription.keywords", f"keywords: {error}") from None

    def _is_its_name(self, name: str) -> bool:
        try:
            return choose(self._hearing, name, is_realtime_model) is self._offer or name == self._offer.name
        except StreamError:
            return False

    async def _push(self, samples: Samples) -> None:
        """Cut where loudness says that speech has begun or stopped, so that a commit stands there."""
        at = self._stream.received
        for event in self._activity.push(samples) if self._activity else ():
            await self._take(samples[: event.known - at])
            samples, at = samples[event.known - at :], event.known
            if isinstance(event, Began):
                turns = self._settings.turn_detection
                padding = turns.prefix_padding_ms if isinstance(turns, ServerVad) else 0
                start = max(round(1000 * seconds(self._item.began)), round(1000 * seconds(event.start)) - padding)
                await self._say("input_audio_buffer.speech_started", audio_start_ms=start, item_id=self._item.id)
            else:
                await self._stopped(seconds(event.known))
        await self._take(samples)

    async def _take(self, samples: Samples) -> None:
        if len(samples):
            await self._caller.admitted.pay(len(samples))
            await self._stream.push(samples)

    async def _stopped(self, time: float, until: float | None = None) -> None:
        await self._say("input_audio_buffer.speech_stopped", audio_end_ms=round(1000 * time), item_id=self._item.id)
        await self._commit(until)

    async def _commit(self, until: float | None = None) -> None:
        item, previous = self._part_from_item(until), self._last
        self._last = item.id
        await self._say("input_audio_buffer.committed", item_id=item.id, previous_item_id=previous)
        for event in ("conversation.item.added", "conversation.item.done"):
            await self._say(event, item=_described(item), previous_item_id=previous)
        item.announced.set()

    def _part_from_item(self, until: float | None = None, dropped: bool = False) -> Item:
        item, now = self._item, self._stream.received if until is None else round(until * SAMPLE_RATE)
        item.ended, item.until, item.dropped = now, until, dropped
        self._item = Item(began=now)
        self._pending.append(item)
        if until is None:
            self._flush(item)
        return item

    def _flush(self, item: Item) -> None:
        item.flushed = True
        self._stream.flush(item.id)

    # --- to the client ---

    async def _speak(self) -> None:
        async for event in self._stream.events():
            self._journal.saw(event)
            match event:
                case Token():
                    await self._hear(event)
                case Vad():
                    await self._settle(event.time)
                    await self._follow_pause(event)
                case Flushed(id) if self._pending and self._pending[0].id == id:
                    await self._complete()

    async def _hear(self, piece: Token) -> None:
        item = self._item
        if self._pending and (self._pending[0].until is None or piece.start < self._pending[0].until):
            item = self._pending[0]
        if item.dropped:
            return
        if item is self._item:
            await self._follow_speech(piece)
        else:
            await item.announced.wait()
        if not item.pieces:
            piece = Token(piece.text.lstrip(), piece.start, piece.logprob)
        item.pieces.append(piece)
        chances = {"logprobs": logprobs([piece])} if self._settings.logprobs else {}
        await self._say(f"{_ITEM}delta", item_id=item.id, content_index=0, delta=piece.text, **chances)

    async def _follow_speech(self, piece: Token) -> None:
        """By the model's own ears: speech has begun where a word has."""
        if isinstance(self._settings.turn_detection, SemanticVad) and not self._speaking:
            self._speaking = True
            at = max(round(1000 * piece.start), round(1000 * seconds(self._item.began)))
            await self._say("input_audio_buffer.speech_started", audio_start_ms=at, item_id=self._item.id)

    async def _follow_pause(self, step: Vad) -> None:
        turns = self._settings.turn_detection
        if isinstance(turns, SemanticVad) and self._speaking:
            head = EAGERNESS[turns.eagerness]
            if step.pauses[self._module_head if head is None else head] > self._stream.options.vad_threshold:
                self._speaking = False
                await self._stopped(step.time, until=step.time)

    async def _settle(self, time: float) -> None:
        """Of an item that ended with a turn: all is told when its audio is old enough; sooner, when no audio waits."""
        while self._pending and (until := self._pending[0].until) is not None:
            item = self._pending[0]
            if time >= until + self._lag:
                await self._complete()
                continue
            if not item.flushed and self._stream.queued <= FRAME_SIZE:
                self._flush(item)
            return

    async def _complete(self) -> None:
        item = self._pending.popleft()
        if item.dropped:
            return
        await item.announced.wait()
        usage = {"type": "duration", "seconds": round(seconds(item.ended - item.began), 3)}
        chances = {"logprobs": logprobs(item.pieces)} if self._settings.logprobs else {}
        await self._say(
            f"{_ITEM}completed", item_id=item.id, content_index=0, transcript=item.text, usage=usage, **chances
        )

    async def _say(self, type: str, **fields: object) -> None:
        await self._caller.say(self._encoded(type, **fields))

    def _encoded(self, type: str, **fields: object) -> str:
        return msgspec.json.encode({"type": type, "event_id": f"event_{secrets.token_hex(10)}", **fields}).decode()


def _described(item: Item) -> dict[str, object]:
    content = [{"type": "input_audio", "transcript": None}]
    return {
        "id": item.id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
        "content": content,
    }  # fmt: skip


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise impossible("audio", f"audio is not base64: {error}") from None


def _nothing_to_commit(samples: int) -> Refused:
    why = f"the buffer holds {1000 * seconds(samples):.0f} ms of audio; a commit needs {1000 * SHORTEST_COMMIT:.0f}"
    return Refused(Fault.INVALID_MESSAGE, "input_audio_buffer_commit_empty", why)
