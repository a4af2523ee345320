"""An endpoint whose refusals have the shape of its dialect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from vivavoce.core import Fault, InvalidAudioError, StreamError

Refusal = Callable[[StreamError], Response]
_FAULTS = {413: Fault.TOO_LARGE, 415: Fault.INVALID_MESSAGE}


class Answering:
    """ASGI. What goes wrong before the answer has begun, in the endpoint or in its response, becomes a `refusal`."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]], refusal: Refusal) -> None:
        self._endpoint, self._refusal = endpoint, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            response = await self._endpoint(Request(scope, receive, watched))
            await response(scope, receive, watched)
        except (StreamError, InvalidAudioError, HTTPException) as error:
            if begun:
                raise
            await self._refusal(_as_stream_error(error))(scope, receive, send)


def _as_stream_error(error: Exception) -> StreamError:
    match error:
        case StreamError():
            return error
        case HTTPException(status_code=status, detail=detail):
            return StreamError(_FAULTS.get(status, Fault.INVALID_MESSAGE), detail)
    return StreamError(Fault.INVALID_MESSAGE, str(error))
