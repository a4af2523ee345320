"""One shape for every refusal: JSON over HTTP, a code and a reason in a close frame."""

from __future__ import annotations

import math

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from vivavoce.core import Fault, StreamError

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


class Refused(StreamError):  # noqa: N818 (what it is, as the field says it)
    """A refusal that says more than its fault: a machine-readable `code`, a `hint` on what to do, the `param`."""

    def __init__(
        self,
        fault: Fault,
        code: str,
        detail: str,
        hint: str = "",
        retry_after: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(fault, detail, retry_after)
        self.code, self.hint, self.param = code, hint, param


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
