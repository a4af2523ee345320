"""How Gradium's clients come in, and how they are told why nothing more will come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import InvalidAudioError, StreamError

from ..errors import refuse
from ..gate import Gate
from . import gradium_messages as messages
from .caller import Caller
from .msgpack import invalid

Serve = Callable[[WebSocket, Caller], Awaitable[None]]


def door(gate: Gate, scope: str, send_seconds: float, serve: Serve) -> Callable[[WebSocket], Awaitable[None]]:
    """An endpoint. Who may not come in is told before the upgrade; all else comes after `setup`, as an error."""

    async def talk(websocket: WebSocket) -> None:
        try:
            admitted = await gate.admit(websocket, scope)
        except StreamError as error:
            await refuse(websocket, error)
            return
        with admitted:
            await websocket.accept()
            caller = Caller(websocket, admitted, send_seconds)
            try:
                await serve(websocket, caller)
                await caller.close()
            except (StreamError, InvalidAudioError) as error:
                told = error if isinstance(error, StreamError) else invalid(str(error))
                await caller.close(told, messages.error(told), messages.closing(told))
            except WebSocketDisconnect:
                pass

    return talk
