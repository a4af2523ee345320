"""uvicorn as this server uses it, and its websocket with patience for clients that send faster than real time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from vivavoce.core import Fault
from vivavoce.settings import ServeSettings

PING_SECONDS = 10.0
PONG_SECONDS = 20.0
FAREWELL_SECONDS = 5  # for the last words and close frames, when all streams have ended


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

    def shutdown(self) -> None:
        """The server ends: 1001, on which clients connect again, instead of uvicorn's 1012."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": Fault.GOING_AWAY.close_code})
            self.conn.send_close(Fault.GOING_AWAY.close_code, Fault.GOING_AWAY.meaning)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()


def uvicorn_config(settings: ServeSettings, app: ASGIApp) -> uvicorn.Config:
    """uvicorn as this server uses it."""
    return uvicorn.Config(
        app,
        http="httptools",
        ws=PatientWebSocket,
        ws_max_size=settings.message_bytes,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        ws_per_message_deflate=False,  # compressed speech does not shrink; a small message could unpack to gigabytes
        lifespan="off",
        log_config=None,
        access_log=False,  # the edge writes a line without secrets
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=FAREWELL_SECONDS,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


class Server(uvicorn.Server):
    """uvicorn without its own idea of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing: `Service` handles them."""
        yield
