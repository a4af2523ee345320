"""How OpenAI's API says what went wrong."""

from __future__ import annotations

from starlette.responses import JSONResponse

from vivavoce.core import Fault, StreamError

from ..errors import body, retry_header

INVALID, AUTH, LIMIT, SERVER = "invalid_request_error", "authentication_error", "rate_limit_error", "server_error"
CODES: dict[Fault, tuple[str, str]] = {  # type, code
    Fault.NORMAL: (SERVER, "session_ended"),
    Fault.GOING_AWAY: (SERVER, "server_shutting_down"),
    Fault.PROTOCOL: (INVALID, "invalid_request"),
    Fault.TOO_LARGE: (INVALID, "request_too_large"),
    Fault.INTERNAL: (SERVER, "internal_error"),
    Fault.OVERLOADED: (SERVER, "overloaded"),
    Fault.CAPACITY: (SERVER, "no_free_slot"),
    Fault.UNAUTHENTICATED: (AUTH, "invalid_api_key"),
    Fault.FORBIDDEN: (AUTH, "permission_denied"),
    Fault.SESSION_TIMEOUT: (INVALID, "session_expired"),
    Fault.INVALID_MESSAGE: (INVALID, "invalid_request"),
    Fault.RATE_LIMITED: (LIMIT, "rate_limit_exceeded"),
    Fault.UNAVAILABLE: (SERVER, "model_not_ready"),
    Fault.CLIENT_TIMEOUT: (INVALID, "client_timeout"),
    Fault.SLOW_READER: (INVALID, "slow_reader"),
    Fault.UNKNOWN_SESSION: (INVALID, "session_not_found"),
    Fault.INVALID_PARAMETER: (INVALID, "invalid_value"),
    Fault.UNKNOWN_MODEL: (INVALID, "model_not_found"),
    Fault.UNKNOWN_VOICE: (INVALID, "voice_not_found"),
    Fault.UNSUPPORTED: (INVALID, "unsupported_value"),
    Fault.UNPROCESSABLE: (INVALID, "unprocessable"),
    Fault.QUOTA_EXCEEDED: ("insufficient_quota", "insufficient_quota"),
}


def fields(error: StreamError) -> dict[str, object]:
    """message, type, param, code."""
    kind, code = CODES[error.fault]
    hint = body(error)["hint"]
    message = f"{error}; {hint}" if hint else str(error)
    return {"message": message, "type": kind, "param": getattr(error, "param", None), "code": code}


def response(error: StreamError) -> JSONResponse:
    """The answer to a request, with Retry-After where a time is known."""
    return JSONResponse({"error": fields(error)}, error.fault.status, retry_header(error))
