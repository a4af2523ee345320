"""moshi-server's speech-to-text protocol: MessagePack over a websocket, a recording by POST (docs/protocols.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import (
    SAMPLE_RATE,
    VAD_HEAD,
    Event,
    Fault,
    Flushed,
    InvalidAudioError,
    StreamError,
    Vad,
    WordEnded,
    WordStarted,
)
from vivavoce.runtime import Runtime, Stream, StreamOptions
from vivavoce.session import SttProfile
from vivavoce.settings import ServeSettings
from vivavoce.settings.modules import Module

from ..gate import Gate
from ..journal import Journal
from . import moshi_codec as codec
from .caller import Caller, first_of
from .choice import Offer, key_terms
from .doorstep import no_upgrade, told, turn_away, unauthorized
from .moshi_markers import Markers
from .msgpack import invalid
from .opening import open_stream, options_of
from .opus import OpusReader
from .upload import refuse_form, transcribe
from .wishes import some_of

logger = logging.getLogger(__name__)
QUIET_SECONDS = 0.25  # without a message, after which waiting markers are answered by a flush
MOST_BAD_MESSAGES = 20  # in a row
NO_HEADS = (0.0, 0.0, 0.0, 0.0)  # of a model without VAD heads: "no pause", for clients that read the third of four


def routes(module: Module, runtime: Runtime, gate: Gate, settings: ServeSettings) -> list[BaseRoute]:
    """The module's path: a websocket, and POST of a whole recording."""

    def options(caller: HTTPConnection) -> StreamOptions:
        """Of these moshi-server has none; what else stands in a query is passed over, as there."""
        terms = key_terms("keyterm", Offer(module, runtime), caller.query_params.getlist("keyterm"))
        return options_of(module, **some_of(caller.query_params, "temperature", "seed"), key_terms=terms)

    async def talk(websocket: WebSocket) -> None:
        try:
            admitted = await gate.admit(websocket, "stt")
        except StreamError as error:
            await turn_away(websocket, error, gate)
            return
        with admitted:
            await websocket.accept(headers=_turns(module, runtime))
            caller = Caller(websocket, admitted, settings.send_seconds)
            try:
                await Conversation(caller, runtime, options(websocket)).run()
            except StreamError as error:
                await caller.close(error, codec.error(told(error)))
            except WebSocketDisconnect:
                pass

    async def post(request: Request) -> Response:
        try:
            admitted = await gate.admit(request, "stt")
        except StreamError as error:
            return unauthorized(error, gate)
        with admitted:
            refuse_form(request)
            heard = await transcribe(request, runtime, options(request), "moshi", admitted)
            return JSONResponse(list(_maps(heard.events)))

    return [
        WebSocketRoute(module.path, talk),
        Route(module.path, post, methods=["POST"]),
        Route(module.path, no_upgrade, methods=["GET"]),
    ]


def _turns(module: Module, runtime: Runtime) -> list[tuple[bytes, bytes]]:
    """A header that says which pause ends a turn, for clients that judge it themselves and do not know the model."""
    head = runtime.info.vad_head if module.vad_head is None and runtime.info else module.vad_head
    return [] if head is None else [(VAD_HEAD.encode(), str(head).encode())]


class Conversation:
    """One websocket, from Ready to its end; Init begins a new stream in it."""

    def __init__(self, caller: Caller, runtime: Runtime, options: StreamOptions) -> None:
        self._caller, self._runtime, self._options = caller, runtime, options
        self._bad = 0  # messages in a row
        self._again = True

    async def run(self) -> None:
        """Until the client has gone. Raises WebSocketDisconnect, and StreamError for a fault."""
        while self._again:
            self._stream = open_stream(self._runtime, self._options)
            try:
                with Journal(self._stream, self._runtime.name, dialect="moshi", who=self._caller.who) as self._journal:
                    await self._one_stream()
            finally:
                self._stream.close()

    async def _one_stream(self) -> None:
        assert self._runtime.info, "a stream was opened on a model that is not loaded"
        self._again = False
        self._received = self._heard = self._steps = 0  # samples, samples, frames
        self._opus = OpusReader()
        self._markers = Markers(SttProfile((), self._runtime.info.delay_seconds).delay_frames)
        await self._caller.say(codec.ready())  # from here and not from the steps: clients wait half a second for it
        self._stream.quick(self._speak_now)
        with self._caller.quickly(self._listen_now):
            await first_of(self._listen(), self._speak(self._stream))

    # --- from the client ---

    def _listen_now(self, message: bytes) -> bool:
        """Audio that needs no waiting and no answer."""
        if self._again or self._markers.waiting:
            return False
        pcm = codec.audio_at_once(message)
        if pcm is None:
            return False
        try:
            taken = self._stream.push_now(pcm)
        except InvalidAudioError:
            taken = False  # which is said on the common way
        if not taken:
            return False
        self._received += len(pcm)
        self._markers.audio(pcm)
        self._bad = 0
        return True

    async def _listen(self) -> None:
        while not self._again:
            message = await self._next()
            try:
                if isinstance(message, str):
                    raise invalid("this dialect has no text messages, only binary ones of MessagePack")
                await self._heed(codec.decode(message))
                self._bad = 0
            except InvalidAudioError as error:
                await self._complain(str(error))
            except StreamError as error:
                if error.fault is not Fault.INVALID_MESSAGE:
                    raise
                await self._complain(str(error))

    async def _next(self) -> bytes | str:
        while self._markers.waiting:
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    return await self._caller.hear()
            except TimeoutError:
                self._stream.flush(self._markers.flush())
        return await self._caller.hear()

    async def _heed(self, request: codec.Request) -> None:
        match request:
            case codec.Audio(pcm):
                await self._push(pcm)
            case codec.OggOpus(data):
                for pcm in self._opus.read(data):
                    await self._push(pcm)
            case codec.Marker(id):
                self._stream.keepalive()
                self._markers.add(id, self._received)
            case codec.Ping():
                self._stream.keepalive()
            case codec.Init():
                if self._received or self._markers.waiting:
                    self._again = True
                else:
                    self._opus = OpusReader()
                    await self._caller.say(codec.ready())

    async def _push(self, pcm: codec.Samples) -> None:
        await self._caller.admitted.pay(len(pcm))
        self._received += len(pcm)
        try:
            await self._stream.push(pcm)
        except InvalidAudioError:
            self._received -= len(pcm)
            raise
        self._markers.audio(pcm)

    async def _complain(self, why: str) -> None:
        self._bad += 1
        if self._bad >= MOST_BAD_MESSAGES:
            raise StreamError(Fault.INVALID_MESSAGE, f"{self._bad} bad messages in a row; the last: {why}")
        logger.info("A bad message: %s", why)
        await self._caller.say(codec.error(why))

    # --- to the client ---

    def _speak_now(self) -> bool:
        """All that a step told, in one go, while the client reads."""
        if not self._caller.reads:
            return False
        if events := self._stream.unread_events():
            said = [message for event in events for message in self._tell(event)]
            if said := [*said, *self._echoes()]:
                self._caller.say_now(said)
        return not self._stream.over

    async def _speak(self, stream: Stream) -> None:
        async for event in stream.events():
            for message in self._tell(event):
                await self._caller.say(message)
            if not stream.unread:  # the step's last event: its echoes follow its words
                for message in self._echoes():
                    await self._caller.say(message)

    def _echoes(self) -> Iterator[bytes]:
        """What is said of markers after a step."""
        stop, ids = self._markers.due()
        if stop is not None:
            yield codec.end_word(stop)
        yield from map(codec.marker, ids)

    def _tell(self, event: Event) -> Iterator[bytes]:
        """The messages of one event, in moshi-server's order: Step, Word, EndWord, Marker."""
        self._journal.saw(event)
        news = self._markers.follow(event)
        match event:
            case Vad(time, pauses):
                self._pauses = pauses or NO_HEADS
                heard = round(time * SAMPLE_RATE)
                if (
                    heard > self._heard
                ):  # not for silence that a flush inserted: one Step for each frame of the client's
                    self._heard = heard
                    yield self._step()
            case WordStarted(text, start, _):
                yield codec.word(text, start)
            case WordEnded(word) if news:
                yield codec.end_word(word.stop)
            case Flushed(number) if isinstance(number, int):
                yield from map(codec.marker, self._markers.flushed(number))
                yield self._step()  # one for all the silence: some clients wait for a Step behind the echo

    def _step(self) -> bytes:
        self._steps += 1
        return codec.step(self._steps, self._pauses, self._received - self._heard)


def _maps(events: Sequence[Event]) -> Iterator[dict[str, object]]:
    for event in events:
        match event:
            case WordStarted(text, start, _):
                yield {"type": "Word", "text": text, "start_time": start}
            case WordEnded(word):
                yield {"type": "EndWord", "stop_time": word.stop}
