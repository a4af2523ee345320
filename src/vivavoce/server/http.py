"""uvicorn's HTTP with an end to patience: the head of a request comes soon and is short, or the connection ends.

Bodies have their own limits (`body.py`), as long as somebody reads them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
HEAD_BYTES = 65_536


class PunctualHttp(HttpToolsProtocol):
    """Ends a connection whose request line and headers take more than HEAD_SECONDS or HEAD_BYTES, or which after the
    answer still sends the body for as long."""

    head_seconds = HEAD_SECONDS

    def connection_made(self, transport: Any) -> None:
        """A connection begins."""
        super().connection_made(transport)
        self._late: asyncio.TimerHandle | None = None
        self._useless: asyncio.TimerHandle | None = None
        self._in_body = False
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
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there."""
        self._in_body = False
        self._forget_useless()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """What still comes of the body is of no use."""
        super().on_response_complete()
        if self._in_body and not self._useless:
            self._useless = self.loop.call_later(self.head_seconds, self.transport.close)

    def handle_websocket_upgrade(self) -> None:
        """The connection is another protocol's from here on."""
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it and this hold each other

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._head_is_there()
        self._forget_useless()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._late = self.loop.call_later(self.head_seconds, self.transport.close)

    def _head_is_there(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None

    def _forget_useless(self) -> None:
        if self._useless:
            self._useless.cancel()
            self._useless = None
