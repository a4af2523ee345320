"""Deepgram's API, for clients of it: /v1/listen and /v1/speak, each a websocket and a POST (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute, Route, WebSocketRoute

from vivavoce.settings import ServeSettings

from ..gate import Gate
from . import deepgram_speak_post
from .answering import Answering
from .choice import Hearing, Speaking
from .deepgram_errors import response as refusal
from .deepgram_listen import Listen
from .deepgram_post import Recordings
from .deepgram_speak import Speak


def routes(
    hearing: Sequence[Hearing], speaking: Sequence[Speaking], gate: Gate, settings: ServeSettings
) -> list[BaseRoute]:
    """Those of what is served."""
    found: list[BaseRoute] = []
    if hearing:
        found.append(WebSocketRoute("/v1/listen", Listen(hearing, gate, settings).talk))
        found.append(Route("/v1/listen", Answering(Recordings(hearing, gate, settings), refusal), methods=["POST"]))
    if speaking:
        found.append(WebSocketRoute("/v1/speak", Speak(speaking, gate, settings).talk))
        found.append(
            Route(
                "/v1/speak",
                Answering(deepgram_speak_post.endpoint(speaking, gate, settings), refusal),
                methods=["POST"],
            )
        )
    return found
