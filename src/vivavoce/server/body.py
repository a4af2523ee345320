"""The body of one request, within bounds of size and of time."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from vivavoce.core import Fault, StreamError
from vivavoce.settings import Limits

SLOWEST = 1_000  # bytes a second: an hour of speech as Opus is sent at twice that


class Body:
    """`receive` of a request, for as long as its body comes at all: at most `upload_bytes`, within `upload_seconds`
    and one second more for each SLOWEST bytes."""

    def __init__(self, receive: Receive, limits: Limits, promised: int = 0) -> None:
        """`promised` is the length that the head tells, if it does."""
        self._receive, self._limits = receive, limits
        self._began = asyncio.get_running_loop().time()
        self._taken = 0  # bytes
        self._complete = False
        self._promised = promised

    async def __call__(self) -> Message:
        """The next part. Raises StreamError TOO_LARGE and CLIENT_TIMEOUT."""
        if self._promised > (most := self._limits.upload_bytes):  # before any of it is sent
            raise StreamError(Fault.TOO_LARGE, f"the body has {self._promised} bytes; the limit is {most}")
        message = await (self._receive() if self._complete else self._in_time())
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        if self._taken > most:
            raise StreamError(Fault.TOO_LARGE, f"the body has more than {most} bytes; that is the limit")
        return message

    async def _in_time(self) -> Message:
        seconds = self._limits.upload_seconds + self._taken / SLOWEST
        try:
            async with asyncio.timeout_at(self._began + seconds):
                return await self._receive()
        except TimeoutError:
            why = f"the body has {self._taken} bytes after {seconds:.0f} s and no end; that is too slow"
            raise StreamError(Fault.CLIENT_TIMEOUT, why) from None
