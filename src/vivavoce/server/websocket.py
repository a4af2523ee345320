"""uvicorn's websocket with patience for clients that send faster than real time."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from vivavoce.core import Fault

PING_SECONDS = 10.0
PONG_SECONDS = 20.0
UNREAD_SECONDS = 10.0  # for which the last bytes wait for a client that does not read


class PatientWebSocket(WebSocketsSansIOProtocol):
    """A pong that stands behind unread audio is not missing.

    While a stream's queue is full its socket is not read, so that the pong of a client which is far ahead can be many
    seconds away. A client counts as gone when nothing at all has come from it for PONG_SECONDS though it was read.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._heard = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Bytes of the socket."""
        self._heard = self.loop.time()
        super().data_received(data)

    def keepalive_timeout(self) -> None:
        """Called PONG_SECONDS after a ping whose pong has not come."""
        silent = self.loop.time() - self._heard
        if self.read_paused or (self.ping_timeout and silent < self.ping_timeout):
            self.pong_timer = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application has ended. A client that does not read would keep the socket open for ever."""
        super().on_task_complete(task)
        if not self.writable.is_set():
            self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        """The server ends: 1001, on which clients connect again, instead of uvicorn's 1012."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": Fault.GOING_AWAY.close_code})
            self.conn.send_close(Fault.GOING_AWAY.close_code, Fault.GOING_AWAY.meaning)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()
