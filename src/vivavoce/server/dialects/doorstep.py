"""How moshi-server's paths turn away who may not come in, and who does not ask for a websocket."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket

from vivavoce.core import Fault, StreamError

from ..errors import body, refuse
from ..gate import Gate

FULL = "no free channels"  # what clients know


def told(error: StreamError) -> str:
    """The text of the message `Error` before a close."""
    return FULL if error.fault is Fault.CAPACITY else str(error)


async def turn_away(websocket: WebSocket, error: StreamError, gate: Gate) -> None:
    """Without a right key: 401 before the upgrade; where tokens are taken, clients expect 4001 after it."""
    if error.fault not in (Fault.UNAUTHENTICATED, Fault.FORBIDDEN):
        await refuse(websocket, error)
    elif gate.credentials.tokens:
        await websocket.accept()
        await websocket.close(error.fault.close_code, "Authentication failed")
    elif error.fault is Fault.UNAUTHENTICATED:
        await websocket.send_denial_response(Response(status_code=401))
    else:
        await refuse(websocket, error)


def unauthorized(error: StreamError, gate: Gate) -> Response:
    """The answer to a POST without a right key."""
    if error.fault is Fault.UNAUTHENTICATED and not gate.credentials.tokens:
        return Response(status_code=401)
    return JSONResponse(body(error), error.fault.status)


async def no_upgrade(_: Request) -> Response:
    """The answer to a GET of a websocket's path."""
    return PlainTextResponse("Connection header did not include 'upgrade'", 400)
