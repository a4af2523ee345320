"""/v1/stream: raw audio in, JSON out (docs/protocols.md); and /v1/transcribe for a whole recording."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from vivavoce.core import SAMPLE_RATE, Event, Fault, Flushed, InvalidAudioError, Refused, StreamError
from vivavoce.runtime import Runtime, Stream
from vivavoce.settings import ServeSettings
from vivavoce.settings.modules import Module

from ..gate import Gate
from ..journal import Journal
from . import stream_messages as messages
from .caller import Caller, first_of
from .choice import Offer, key_terms
from .msgpack import invalid
from .opening import open_stream, options_of
from .sound import Samples, sound
from .upload import refuse_form, transcribe
from .wishes import Wishes, asks_to_be_told, refuse_others, some_of, wishes

logger = logging.getLogger(__name__)
LEGACY_END = b"EOS"  # a whole binary message
MOST_BAD_MESSAGES = 20  # in a row
SECURED_SECONDS = 5  # of audio between two copies for another server; so much the client keeps
WAITED_SECONDS = 0.05  # a push that took longer had to wait for room
OF_RECORDINGS = ("temperature", "seed", "guard")  # parameters, each at most once
DELIBERATE = (1000, 1001)  # close codes of a client that does not mean to come back


def routes(module: Module, runtime: Runtime, gate: Gate, settings: ServeSettings) -> list[BaseRoute]:
    """/v1/stream and /v1/transcribe for the first module; for every one also with /LABEL behind."""

    async def talk(websocket: WebSocket) -> None:
        try:
            await converse(websocket)
        except StreamError as error:
            if websocket.application_state is WebSocketState.CONNECTING and asks_to_be_told(websocket.query_params):
                await websocket.accept()
                await websocket.send_text(messages.encode(messages.error(error)).decode())
            raise

    async def converse(websocket: WebSocket) -> None:
        with await gate.admit(websocket, "stt") as admitted:
            asked = wishes(websocket.query_params)
            if asked.session is not None:
                await runtime.fetch(asked.session)
            stream = _open(asked, module, runtime)  # refused before the upgrade: with a status and Retry-After
            try:
                events = stream.events(asked.seq if asked.session else None)
                await websocket.accept()
                caller = Caller(websocket, admitted, settings.send_seconds)
                with Journal(stream, runtime.name, dialect="stream", who=admitted.who) as journal:
                    await Conversation(caller, stream, asked, settings, runtime, journal).run(events)
            except WebSocketDisconnect as gone:
                if gone.code not in DELIBERATE:
                    stream.park()
            except StreamError as error:
                if error.fault.retry or error.fault is Fault.UNKNOWN_SESSION:
                    stream.park()
                raise
            finally:
                stream.close()

    async def post(request: Request) -> Response:
        with await gate.admit(request, "stt") as admitted:
            refuse_form(request)
            refuse_others(request.query_params, *OF_RECORDINGS, "keyterm")
            asked = some_of(request.query_params, *OF_RECORDINGS)
            terms = key_terms("keyterm", Offer(module, runtime), request.query_params.getlist("keyterm"))
            options = options_of(module, **asked, key_terms=terms)
            heard = await transcribe(request, runtime, options, "transcribe", admitted)
            return JSONResponse(messages.transcript(heard.transcript, drops=asked.get("guard") == "drop"))

    return [
        route
        for end in ("", f"/{module.label}")
        for route in (WebSocketRoute(f"/v1/stream{end}", talk), Route(f"/v1/transcribe{end}", post, methods=["POST"]))
    ]


def _open(asked: Wishes, module: Module, runtime: Runtime) -> Stream:
    if asked.session is not None:
        return runtime.resume(asked.session)
    options = options_of(
        module,
        temperature=asked.temperature,
        seed=asked.seed,
        vad=asked.vad,
        vad_head=asked.vad_head,
        vad_threshold=asked.vad_threshold,
        resumable=asked.resume,
        guard=asked.guard,
        key_terms=key_terms("keyterm", Offer(module, runtime), asked.keyterm),
    )
    return open_stream(runtime, options)


class Conversation:
    """One connection of one stream: the caller's bytes to samples, the stream's events to JSON."""

    def __init__(
        self,
        caller: Caller,
        stream: Stream,
        asked: Wishes,
        settings: ServeSettings,
        runtime: Runtime,
        journal: Journal,
    ) -> None:
        assert runtime.info, "a stream was opened on a model that is not loaded"
        self._caller, self._stream, self._asked, self._journal = caller, stream, asked, journal
        self._model, self._ping_seconds = runtime.info.name, settings.ping_seconds
        self._moves = runtime.vault is not None
        self._idle_seconds = min(asked.idle, settings.idle_seconds)
        self._sound = sound(asked.format, asked.sample_rate)
        self._acknowledged = stream.received
        self._bad = 0  # messages in a row

    async def run(self, events: AsyncIterator[Event]) -> None:
        """Until the stream has ended. Raises WebSocketDisconnect, and StreamError once the client has been told."""
        try:
            self._stream.idle_after(self._idle_seconds, self._silent())
            await self._say(self._ready())
            self._stream.quick(self._speak_now)
            with self._caller.quickly(self._listen_now):
                await first_of(self._speak(events), self._listen(), self._ping())
            self._stream.park()  # so that a client that lost the connection just now can still fetch its last words
            await self._caller.close()
        except StreamError as error:
            await self._caller.close(error, messages.encode(messages.error(error)).decode())
            raise error from None
        except WebSocketDisconnect:
            await self._keep_rest()
            raise

    def _ready(self) -> dict[str, object]:
        stream, rate = self._stream, self._asked.sample_rate
        return {
            "type": "ready",
            "session": stream.id,
            "model": self._model,
            "sample_rate": rate,
            "samples": round(stream.received * rate / SAMPLE_RATE),
            "flushes": stream.asked,
            "ended": stream.ended,
        }

    # --- from the caller ---

    def _listen_now(self, message: bytes) -> bool:
        """Audio that needs no waiting and no answer."""
        samples = self._sound.at_once(message) if not (self._moves and self._asked.resume) else None
        if samples is None:
            return False
        if self._asked.resume and self._stream.received + len(samples) - self._acknowledged >= SAMPLE_RATE:
            return False  # it is to be acknowledged
        if not self._stream.push_now(samples):
            return False
        self._bad = 0
        return True

    async def _listen(self) -> None:
        while True:
            message = await self._caller.hear()
            try:
                await self._heed(message)
                self._bad = 0
            except InvalidAudioError as error:
                await self._complain(StreamError(Fault.INVALID_MESSAGE, str(error)))
            except StreamError as error:
                if error.fault is not Fault.INVALID_MESSAGE:
                    raise
                await self._complain(error)

    def _silent(self) -> StreamError:
        hint = "send keepalive while there is no audio, or ask for more with ?idle=SECONDS"
        why = f"neither audio nor keepalive for {self._idle_seconds:g} s"
        return Refused(Fault.CLIENT_TIMEOUT, "client_timeout", why, hint)

    async def _heed(self, message: bytes | str) -> None:
        if isinstance(message, str):
            await self._obey(messages.control(message))
        elif message == LEGACY_END and not self._sound.cut:
            await self._obey(messages.EndControl())
        elif self._stream.ended:
            raise invalid("audio after eos: the stream has ended")
        else:
            for samples in self._sound.read(message):
                await self._push(samples)

    async def _obey(self, control: messages.Control) -> None:
        match control:
            case messages.KeepAlive():
                self._stream.keepalive()
            case _ if self._stream.ended:
                raise invalid("the stream has ended: nothing but keepalive is taken after eos")
            case messages.FlushControl(id):
                await self._push(self._sound.rest())
                self._stream.flush(id)
            case messages.EndControl():
                await self._push(self._sound.rest())
                self._stream.end()

    async def _push(self, samples: Samples) -> None:
        if not len(samples):
            return
        began = time.monotonic()
        await self._caller.admitted.pay(len(samples))
        await self._stream.push(samples)
        waited = time.monotonic() - began > WAITED_SECONDS and not self._moves
        every = SECURED_SECONDS * SAMPLE_RATE if self._moves else SAMPLE_RATE
        if self._asked.resume and (waited or self._stream.received - self._acknowledged >= every):
            received = self._stream.received
            await self._stream.secure()  # what is acknowledged, the client forgets
            self._acknowledged = received
            await self._say({"type": "ack", "samples": self._acknowledged * self._asked.sample_rate // SAMPLE_RATE})

    async def _complain(self, error: StreamError) -> None:
        self._bad += 1
        if self._bad >= MOST_BAD_MESSAGES:
            raise StreamError(Fault.INVALID_MESSAGE, f"{self._bad} bad messages in a row; the last: {error}")
        logger.info("A bad message: %s", error)
        await self._say(messages.error(error))

    async def _keep_rest(self) -> None:
        """The connection was lost: what the resampler holds back is the stream's, for whoever resumes it."""
        if self._asked.resume and not self._stream.ended:
            with contextlib.suppress(StreamError):
                if len(rest := self._sound.rest()):
                    await self._stream.push(rest)

    # --- to the caller ---

    def _speak_now(self) -> bool:
        """All that a step told, in one go, while the client reads."""
        if not self._caller.reads:
            return False
        number, said = self._stream.position, list[bytes]()
        for event in self._stream.unread_events():
            number += 1
            self._journal.saw(event)
            if message := messages.event(event, self._asked):
                if self._asked.resume:
                    message["seq"] = number
                said.append(messages.encode(message))
        if said:
            self._caller.say_now(said, text=True)
        return not self._stream.over

    async def _speak(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self._journal.saw(event)
            if isinstance(event, Flushed):  # the client forgets that it asked
                await self._stream.secure()
            if message := messages.event(event, self._asked):
                if self._asked.resume:
                    message["seq"] = self._stream.position
                await self._say(message)
        end = {"type": "end", "samples": round(self._stream.received * self._asked.sample_rate / SAMPLE_RATE)}
        await self._say({**end, "dropped": self._stream.dropped} if self._stream.options.guard == "drop" else end)

    async def _ping(self) -> None:
        if not self._ping_seconds:
            await asyncio.Event().wait()
        while True:
            quiet = time.monotonic() - self._caller.said_at
            if quiet >= self._ping_seconds:
                await self._say({"type": "ping"})
            else:
                await asyncio.sleep(self._ping_seconds - quiet)

    async def _say(self, message: dict[str, object]) -> None:
        await self._caller.say(messages.encode(message).decode())
