"""moshi-server's text-to-speech protocol: text in, audio out, over a websocket (docs/protocols.md)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import Fault, StreamError
from vivavoce.runtime import SpeechRuntime, SpeechStream
from vivavoce.settings import ServeSettings, SpeechModule

from ..gate import Gate
from ..journal import Journal
from . import moshi_codec
from .caller import Caller
from .dictation import Dictation
from .doorstep import no_upgrade, told, turn_away, unauthorized
from .loudspeaker import Loudspeaker
from .opening import open_speech, speech_options
from .speech_post import Speaker
from .speech_wishes import SpeechWishes, speech_wishes

STREAMING = "_streaming"  # ends the path of the websocket; without it, that of the POST


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
            await Dictation(caller, stream, Loudspeaker(asked.format), journal).run()
        await caller.hang_up()
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
