"""Gradium's API, for clients and plugins of it: /api/speech/asr and /api/speech/tts (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute, WebSocketRoute

from vivavoce.settings import ServeSettings

from ..gate import Gate
from .choice import Hearing, Speaking
from .gradium_door import door
from .gradium_listen import Listen
from .gradium_say import Say


def routes(
    hearing: Sequence[Hearing], speaking: Sequence[Speaking], gate: Gate, settings: ServeSettings
) -> list[BaseRoute]:
    """Those of what is served."""
    found: list[BaseRoute] = []
    if hearing:
        listen = Listen(hearing, settings.idle_seconds)
        found.append(WebSocketRoute("/api/speech/asr", door(gate, "stt", settings.send_seconds, listen.serve)))
    if speaking:
        say = Say(speaking, settings)
        found.append(WebSocketRoute("/api/speech/tts", door(gate, "tts", settings.send_seconds, say.serve)))
    return found
