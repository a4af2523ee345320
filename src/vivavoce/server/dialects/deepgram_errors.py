"""How Deepgram's API says what went wrong."""

from __future__ import annotations

import uuid

from starlette.responses import JSONResponse

from vivavoce.core import Fault, StreamError

from ..errors import LONGEST_REASON, body, retry_header

DATA, NET = "DATA-0000", "NET-0000"  # of its close frames: the client's audio, the server or the network
SILENT = "NET-0001"  # nothing came from the client
CODES: dict[Fault, tuple[str, int, str]] = {  # of HTTP; close code and what its reason begins with
    Fault.NORMAL: ("OK", 1000, ""),
    Fault.GOING_AWAY: ("SERVICE_UNAVAILABLE", 1001, NET),
    Fault.PROTOCOL: ("Bad Request", 1002, DATA),
    Fault.TOO_LARGE: ("PAYLOAD_TOO_LARGE", 1009, DATA),
    Fault.INTERNAL: ("INTERNAL_SERVER_ERROR", 1011, NET),
    Fault.OVERLOADED: ("SERVICE_UNAVAILABLE", 1013, NET),
    Fault.CAPACITY: ("SERVICE_UNAVAILABLE", 1013, NET),
    Fault.UNAUTHENTICATED: ("INVALID_AUTH", 1008, NET),
    Fault.FORBIDDEN: ("INSUFFICIENT_PERMISSIONS", 1008, NET),
    Fault.SESSION_TIMEOUT: ("TIMEOUT", 1011, NET),
    Fault.INVALID_MESSAGE: ("Bad Request", 1008, DATA),
    Fault.RATE_LIMITED: ("TOO_MANY_REQUESTS", 1008, NET),
    Fault.UNAVAILABLE: ("SERVICE_UNAVAILABLE", 1013, NET),
    Fault.CLIENT_TIMEOUT: ("TIMEOUT", 1011, SILENT),
    Fault.SLOW_READER: ("SLOW_READER", 1008, NET),
    Fault.UNKNOWN_SESSION: ("NOT_FOUND", 1008, NET),
    Fault.INVALID_PARAMETER: ("INVALID_QUERY_PARAMETER", 1008, DATA),
    Fault.UNKNOWN_MODEL: ("MODEL_NOT_FOUND", 1008, DATA),
    Fault.UNKNOWN_VOICE: ("MODEL_NOT_FOUND", 1008, DATA),
    Fault.UNSUPPORTED: ("UNSUPPORTED_FEATURE", 1008, DATA),
    Fault.QUOTA_EXCEEDED: ("ASR_PAYMENT_REQUIRED", 1008, NET),
    Fault.UNPROCESSABLE: ("UNPROCESSABLE_ENTITY", 1008, DATA),
}


def message(error: StreamError) -> str:
    """What went wrong, and what to do."""
    hint = body(error)["hint"]
    return f"{error}; {hint}" if hint else str(error)


def response(error: StreamError) -> JSONResponse:
    """The answer to a request or a handshake; a client that sees no body has it in the header dg-error."""
    request = str(uuid.uuid4())
    told = {"err_code": CODES[error.fault][0], "err_msg": message(error), "request_id": request}
    shown = message(error).encode("ascii", "replace").decode()[:512]
    headers = {"dg-request-id": request, "dg-error": " ".join(shown.split()), **retry_header(error)}
    return JSONResponse(told, error.fault.status, headers)


def closing(error: StreamError) -> tuple[int, str]:
    """Code and reason of the close frame."""
    _, code, kind = CODES[error.fault]
    return code, f"{kind}: {error}".encode()[:LONGEST_REASON].decode(errors="ignore")
