"""uvicorn as this server uses it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from vivavoce.settings import ServeSettings

from .http import PunctualHttp
from .websocket import PING_SECONDS, PONG_SECONDS, PatientWebSocket

FAREWELL_SECONDS = 5  # for the last words and close frames, when all streams have ended


def uvicorn_config(settings: ServeSettings, app: ASGIApp) -> uvicorn.Config:
    """uvicorn as this server uses it."""
    return uvicorn.Config(
        app,
        http=PunctualHttp,
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


def loop_factory(settings: ServeSettings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop of a process that serves."""
    return uvicorn_config(settings, _nothing).get_loop_factory()


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application for which there is no server."""


class Server(uvicorn.Server):
    """uvicorn without its own idea of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing: `Service` handles them."""
        yield
