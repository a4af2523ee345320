"""OpenAI's API, for clients of it: transcription, speech, models and realtime transcription (docs/protocols.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from vivavoce.settings import ServeSettings

from ..gate import Gate
from . import openai_speech
from .answering import Answering
from .choice import Hearing, Speaking, choose
from .openai_errors import response as refusal
from .openai_realtime import Realtime
from .openai_transcription import Transcriptions


def routes(
    hearing: Sequence[Hearing], speaking: Sequence[Speaking], gate: Gate, settings: ServeSettings
) -> list[BaseRoute]:
    """Those of what is served: a server that only speaks hears nothing."""
    started = int(time.time())
    offers: list[Hearing | Speaking] = [*hearing, *speaking]

    def described(name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": started, "owned_by": "vivavoce"}

    async def models(request: Request) -> Response:
        with await gate.admit(request, None, stream=False):
            names = dict.fromkeys(offer.name for offer in offers)
            return JSONResponse({"object": "list", "data": [described(name) for name in names]})

    async def model(request: Request) -> Response:
        with await gate.admit(request, None, stream=False):
            return JSONResponse(described(choose(offers, request.path_params["name"], lambda _: False).name))

    found: list[BaseRoute] = [
        Route("/v1/models", Answering(models, refusal), methods=["GET"]),
        Route("/v1/models/{name:path}", Answering(model, refusal), methods=["GET"]),
    ]
    if hearing:
        post = Transcriptions(hearing, gate, settings)
        found.append(Route("/v1/audio/transcriptions", Answering(post, refusal), methods=["POST"]))
        found.append(WebSocketRoute("/v1/realtime", Realtime(hearing, gate, settings).talk))
    if speaking:
        say = openai_speech.endpoint(speaking, gate, settings)
        found.append(Route("/v1/audio/speech", Answering(say, refusal), methods=["POST"]))
    return found
