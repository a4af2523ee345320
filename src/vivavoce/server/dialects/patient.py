"""An answer that is sent in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.types import Send

from vivavoce.core import Fault, StreamError

from .waiting import gone


class Patient:
    """Each part has a deadline, so that a client which does not read holds nobody's slot."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds

    async def start(self, media_type: str, headers: Mapping[str, str] = {}) -> None:
        """Status 200 and the headers."""
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        raw.append((b"content-type", media_type.encode()))
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def body(self, data: bytes, more: bool = True) -> None:
        """Raises StreamError(SLOW_READER) when the client takes too long to make room."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            raise StreamError(Fault.SLOW_READER, f"the client has not read for {self._seconds:g} s") from None


async def watch(request: Request) -> None:
    """For ever; raises StreamError when the client has gone."""
    while not await request.is_disconnected():
        await asyncio.sleep(1)
    raise gone()
