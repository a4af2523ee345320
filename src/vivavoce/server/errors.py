"""One shape for every refusal: JSON over HTTP, a code and a reason in a close frame."""

from __future__ import annotations

import math
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from vivavoce.core import Fault, StreamError
from vivavoce.core import Refused as Refused  # of whom the dialects have it

LONGEST_REASON = 123  # bytes: what RFC 6455 leaves for the reason of a close frame
_HINTS = {
    Fault.CAPACITY: "try again shortly, or start the server with more slots",
    Fault.OVERLOADED: "try again shortly; the server is slower than its streams need",
    Fault.UNAVAILABLE: "wait until /ready answers 200",
    Fault.GOING_AWAY: "connect again; another server may be up already",
    Fault.RATE_LIMITED: "slow down, or raise the limit in the server's settings",
    Fault.TOO_LARGE: "send smaller messages, or raise the limit in the server's settings",
    Fault.UNKNOWN_SESSION: "start a new session",
}


def code_of(error: StreamError) -> str:
    """The refusal's own code, or the name of its fault."""
    return error.code if isinstance(error, Refused) else error.fault.name.lower()


def body(error: StreamError) -> dict[str, str]:
    """{"error", "code", "message", "hint"}, as the fork's clients read it."""
    kinds = {Fault.UNAUTHENTICATED: "unauthorized", Fault.FORBIDDEN: "forbidden"}
    hint = error.hint if isinstance(error, Refused) else _HINTS.get(error.fault, "")
    kind = kinds.get(error.fault, error.fault.name.lower())
    return {"error": kind, "code": code_of(error), "message": str(error), "hint": hint}


def response(error: StreamError) -> JSONResponse:
    """The HTTP answer to a stream that was refused, with Retry-After where a time is known."""
    return JSONResponse(body(error), error.fault.status, retry_header(error))


def retry_header(error: StreamError) -> dict[str, str]:
    """Retry-After in whole seconds, where a time is known."""
    return {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}


async def refuse(websocket: WebSocket, error: StreamError) -> None:
    """Answers a handshake with that response instead of an upgrade."""
    await websocket.send_denial_response(response(error))


def reason(error: StreamError) -> str:
    """The error's line, cut to what a close frame takes."""
    return str(error).encode()[:LONGEST_REASON].decode(errors="ignore")


async def http_error(_: Request, error: Exception) -> Response:
    """Starlette's handler of what its routes refuse."""
    assert isinstance(error, HTTPException)
    return http_answer(error)


def http_answer(error: HTTPException) -> JSONResponse:
    """In the same shape."""
    status = HTTPStatus(error.status_code)
    code = status.name.lower()
    body = {"error": code, "code": code, "message": error.detail, "hint": ""}
    return JSONResponse(body, status, error.headers)
