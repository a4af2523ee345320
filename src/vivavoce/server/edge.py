"""The outermost layer: an id for every request, a line in the log, and no error that leaves as anything but JSON."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import Fault, InvalidAudioError, StreamError

from . import errors

logger = logging.getLogger(__name__)
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_QUIET = ("/metrics", "/ready", "/health", "/api/health", "/api/build_info")  # asked again and again by machines
_STARTS = ("http.response.start", "websocket.http.response.start", "websocket.accept")


class Edge:
    """ASGI middleware. A caller's own x-request-id is kept when it is plain; else one is made.

    The body of a request ends with TOO_LARGE where it passes `most_bytes`.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or one websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, Headers(scope=scope).get("x-request-id", ""))
        began = time.monotonic()
        try:
            await self._app(scope, _bounded(receive, self._most_bytes), answer)
        except (ClientDisconnect, WebSocketDisconnect):
            logger.debug("Request %s: the client has gone", answer.id)
        except StreamError as error:
            await _refuse(scope, receive, answer, error)
        except InvalidAudioError as error:
            await _refuse(scope, receive, answer, StreamError(Fault.INVALID_MESSAGE, str(error)))
        except Exception:
            logger.exception("Request %s failed: %s", answer.id, scope["path"])
            await _refuse(scope, receive, answer, StreamError(Fault.INTERNAL))
        if scope["type"] == "http":
            level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
            took = 1000 * (time.monotonic() - began)
            line = "%s %s: %s in %.0f ms, request %s"
            logger.log(level, line, scope["method"], scope["path"], answer.status, took, answer.id)


class _Answer:
    """`send` with the request's id among the headers; knows whether and how the answer has begun."""

    def __init__(self, send: Send, id: str) -> None:
        self._send = send
        self.id = id if _ID.fullmatch(id) else uuid.uuid4().hex[:16]
        self.status: int | None = None
        self.closed = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.status = message.get("status", 101)
            MutableHeaders(scope=message)["x-request-id"] = self.id  # an accept message may come without headers
        self.closed |= message["type"] == "websocket.close"
        await self._send(message)


def _bounded(receive: Receive, most: int) -> Receive:
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
        if taken > most:
            raise StreamError(Fault.TOO_LARGE, f"the body has more than {most} bytes; that is the limit")
        return message

    return bounded


async def _refuse(scope: Scope, receive: Receive, answer: _Answer, error: StreamError) -> None:
    if answer.status is None:
        response: Response = errors.response(error)
        if scope["type"] == "http":
            await response(scope, receive, answer)
        else:
            await WebSocket(scope, receive, answer).send_denial_response(response)
    elif answer.status == 101 and not answer.closed:
        await answer({"type": "websocket.close", "code": error.fault.close_code, "reason": errors.reason(error)})
