"""A TCP proxy that cuts connections, and a server of one's own that says what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response


@dataclass
class Cutter:
    """Forwards to `target`; each connection lives for the next budget of bytes (up, down), then it is reset."""

    target: str
    budgets: Iterator[tuple[int, int]]
    connections: int = 0
    port: int = 0
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Cutter]:
        listener = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            self.cut()

    def cut(self) -> None:
        """Reset whatever is open."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up, down = next(self.budgets, (1 << 60, 1 << 60))
        there = urlsplit(self.target)
        far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
        self._open += [writer, far_writer]
        sides = [
            asyncio.create_task(_pass(reader, far_writer, up)),
            asyncio.create_task(_pass(far_reader, writer, down)),
        ]
        await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            end.transport.abort()
        await asyncio.gather(*sides, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int) -> None:
    try:
        while budget > 0 and (data := await reader.read(min(4096, budget))):
            writer.write(data)
            await writer.drain()
            budget -= len(data)
    except OSError:
        return


@asynccontextmanager
async def scripted(
    talk: Callable[[ServerConnection], object], refuse: Callable[[Request], Response | None] | None = None
) -> AsyncIterator[str]:
    """A websocket server on loopback: its URL. `talk` is a coroutine function of one connection."""

    def before(connection: ServerConnection, request: Request) -> Response | None:
        return refuse(request) if refuse else None

    async with serve(talk, "127.0.0.1", 0, process_request=before, close_timeout=1) as listening:  # type: ignore[arg-type]
        port = next(iter(listening.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


def refusal(status: int, body: dict[str, Any] | None = None, **headers: str) -> Response:
    """An HTTP answer instead of the upgrade."""
    data = b"" if body is None else json.dumps(body).encode()
    fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    fields["Content-Length"] = str(len(data))
    fields["Connection"] = "close"
    return Response(status, HTTPStatus(status).phrase, fields, data)
