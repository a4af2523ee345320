"""The outermost layer: an id for every request, a line in the log, and no error that leaves as anything but JSON."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import Fault, InvalidAudioError, StreamError
from vivavoce.settings import Limits

from . import errors
from .body import Body
from .credentials import SCHEMES

logger = logging.getLogger(__name__)
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_QUIET = ("/metrics", "/ready", "/health", "/api/health", "/api/build_info")  # asked again and again by machines
_STARTS = ("http.response.start", "websocket.http.response.start", "websocket.accept")


class Edge:
    """ASGI middleware. A caller's own x-request-id is kept when it is plain; else one is made."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or one websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        head = Headers(scope=scope)
        if scope["type"] == "http":
            receive = Body(receive, self._limits, int(head.get("content-length") or 0))  # uvicorn lets digits alone in
        answer = _Answer(send, head.get("x-request-id", ""), scope.get("subprotocols", ()))
        began = time.monotonic()
        try:
            await self._app(scope, receive, answer)
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
    """`send` with the request's id among the headers; knows whether and how the answer has begun.

    A browser takes no answer to subprotocols that chooses none: of those that carry a key, the scheme is chosen.
    """

    def __init__(self, send: Send, id: str, offered: Sequence[str]) -> None:
        self._send = send
        self._scheme = offered[0] if offered and offered[0].lower() in SCHEMES else None
        self.id = id if _ID.fullmatch(id) else uuid.uuid4().hex[:16]
        self.status: int | None = None
        self.closed = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.status = message.get("status", 101)
            MutableHeaders(scope=message)["x-request-id"] = self.id  # an accept message may come without headers
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message["subprotocol"] = self._scheme
        self.closed |= message["type"] == "websocket.close"
        await self._send(message)


async def _refuse(scope: Scope, receive: Receive, answer: _Answer, error: StreamError) -> None:
    if answer.status is None:
        response: Response = errors.response(error)
        if scope["type"] == "http":
            await response(scope, receive, answer)
        else:
            await WebSocket(scope, receive, answer).send_denial_response(response)
    elif answer.status == 101 and not answer.closed:
        await answer({"type": "websocket.close", "code": error.fault.close_code, "reason": errors.reason(error)})
