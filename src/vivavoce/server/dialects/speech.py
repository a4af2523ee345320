"""moshi-server's text-to-speech protocol: text in, audio out, over a websocket (docs/protocols.md)."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import Fault, Speech, StreamError, VivavoceError
from vivavoce.runtime import SpeechRuntime, SpeechStream
from vivavoce.settings import ServeSettings, SpeechModule

from ..gate import Gate
from ..journal import Journal
from . import moshi_codec, speech_codec
from .caller import Caller, first_of
from .doorstep import no_upgrade, told, turn_away, unauthorized
from .loudspeaker import Loudspeaker
from .msgpack import invalid
from .opening import open_speech, speech_options
from .orders import Order, Orders
from .speech_post import Speaker
from .speech_wishes import SpeechWishes, speech_wishes

logger = logging.getLogger(__name__)
STREAMING = "_streaming"  # ends the path of the websocket; without it, that of the POST
MOST_BAD_MESSAGES = 20  # in a row


def routes(module: SpeechModule, runtime: SpeechRuntime, gate: Gate, settings: ServeSettings) -> list[BaseRoute]:
    """The module's path: a websocket, and POST of a text, which is also at the path without its ending; its voices."""

    async def talk(websocket: WebSocket) -> None:
        asked = speech_wishes(websocket.query_params)
        try:
            admitted = await gate.admit(websocket, "tts")
        except StreamError as error:
            await turn_away(websocket, error, gate)
            return
        with admitted:
            refusal, stream = None, None
            try:
                stream = open_speech(runtime, speech_options(module, **asked.options))
            except StreamError as error:
                if error.fault.status == 400:
                    raise  # before the upgrade, so that it has a code
                refusal = error
            await websocket.accept()
            caller = Caller(websocket, admitted, settings.send_seconds)
            if stream is None:
                assert refusal is not None
                await _farewell(caller, asked, refusal)
            else:
                await _converse(caller, asked, stream, runtime.name)

    async def post(request: Request) -> Response:
        try:
            admitted = await gate.admit(request, "tts")
        except StreamError as error:
            return unauthorized(error, gate)
        return Speaker(request, admitted, module, runtime, settings)

    async def voices(request: Request) -> Response:
        with await gate.admit(request, "tts", stream=False):
            info = runtime.info
            if info is None:
                raise StreamError(Fault.UNAVAILABLE)
            return JSONResponse({"voices": info.voices, "default": info.voice})

    stem = module.path.removesuffix(STREAMING)
    sockets = dict.fromkeys((module.path, f"{stem}{STREAMING}", f"{module.path}{STREAMING}"))
    found: list[BaseRoute] = [WebSocketRoute(path, talk) for path in sockets]
    found += [Route(path, post, methods=["POST"]) for path in dict.fromkeys((module.path, stem)) if path]
    found += [Route(f"{stem}/voices", voices), Route(module.path, no_upgrade, methods=["GET"])]
    return found


async def _converse(caller: Caller, asked: SpeechWishes, stream: SpeechStream, name: str) -> None:
    try:
        with Journal(stream, name, dialect="speech", who=caller.who) as journal:
            await SpeechConversation(caller, stream, asked, journal).run()
    except StreamError as error:
        await _farewell(caller, asked, error)
    except WebSocketDisconnect:
        pass
    finally:
        stream.close()


async def _farewell(caller: Caller, asked: SpeechWishes, error: StreamError) -> None:
    """The raw formats have no word for an error: there it is in the close frame alone."""
    packed = Loudspeaker(asked.format).packed
    await caller.close(error, moshi_codec.error(told(error)) if packed else None)


def _decoded(message: bytes | str) -> Order:
    try:
        return speech_codec.decode(message)
    except StreamError as error:
        return error


class SpeechConversation:
    """One websocket, from Ready to its end."""

    def __init__(self, caller: Caller, stream: SpeechStream, asked: SpeechWishes, journal: Journal) -> None:
        self._caller, self._stream, self._journal = caller, stream, journal
        self._loudspeaker = Loudspeaker(asked.format)
        self._orders = Orders()
        self._bad = 0  # messages in a row

    async def run(self) -> None:
        """Until everything was said. Raises WebSocketDisconnect, and StreamError for a fault."""
        for message in self._loudspeaker.begin():
            await self._caller.say(message)
        await first_of(self._speak(), self._listen(), self._obey())
        await self._caller.hang_up()

    async def _speak(self) -> None:
        async for event in self._stream.events():
            self._journal.saw(event)
            if isinstance(event, Speech):
                await self._caller.admitted.pay(len(event.samples))
            message = self._loudspeaker.tell(event)
            if message is not None:
                await self._caller.say(message)

    async def _listen(self) -> None:
        """Reads on while text waits to be taken, so that an interruption is heard at once."""
        while True:
            order = _decoded(await self._caller.hear(counted=False))
            if not (isinstance(order, StreamError) or (isinstance(order, speech_codec.Text) and order.text.strip())):
                self._caller.count()  # words are paced by their queue, everything else by the number of messages
            match order:
                case speech_codec.Ping():
                    self._stream.keepalive()
                case speech_codec.Clear():
                    for waiting in self._orders.take_all():
                        if not isinstance(waiting, speech_codec.Text):  # which is all that it drops
                            await self._heed(waiting)
                    self._stream.clear()
                case _:
                    await self._orders.put(order)

    async def _obey(self) -> None:
        while True:
            await self._heed(await self._orders.take())

    async def _heed(self, order: Order) -> None:
        try:
            await self._do(order)
            self._bad = 0
        except StreamError as error:
            if error.fault is not Fault.INVALID_MESSAGE:
                raise
            await self._complain(error)
        except VivavoceError as error:  # of the session: what cannot be taken now
            await self._complain(invalid(str(error)))

    async def _do(self, order: Order) -> None:
        match order:
            case speech_codec.Text(text) if self._stream.ended and not text.strip():
                self._stream.keepalive()
            case speech_codec.Text(text):
                await self._stream.say(text, whole=True)
            case speech_codec.Voice(embedding):
                self._stream.voice(embedding)
            case speech_codec.Flush(id):
                self._stream.flush(id)
            case speech_codec.Eos():
                self._stream.end()
            case StreamError():
                raise order

    async def _complain(self, error: StreamError) -> None:
        self._bad += 1
        if self._bad >= MOST_BAD_MESSAGES:
            raise invalid(f"{self._bad} bad messages in a row; the last: {error}")
        if not self._loudspeaker.packed:
            raise error
        logger.info("A bad message: %s", error)
        await self._caller.say(moshi_codec.error(str(error)))
