"""uvicorn's HTTP with an end to patience: the head of a request comes soon and is short, or the connection ends."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
HEAD_BYTES = 65_536


class PunctualHttp(HttpToolsProtocol):
    """Ends a connection whose request line and headers take more than HEAD_SECONDS or HEAD_BYTES."""

    head_seconds = HEAD_SECONDS

    def connection_made(self, transport: Any) -> None:
        """A connection begins."""
        super().connection_made(transport)
        self._late: asyncio.TimerHandle | None = None
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Bytes of the socket."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._late and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"the head of the request has more than {HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """Another request on the connection."""
        super().on_message_begin()
        if not self._late:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is there; its body may take its time."""
        self._head_is_there()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._head_is_there()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._late = self.loop.call_later(self.head_seconds, self.transport.close)

    def _head_is_there(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None
