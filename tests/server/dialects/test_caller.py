"""The client's end of a websocket: one that does not read is closed, cut, and waited for no longer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import weakref

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from vivavoce.core import Fault, StreamError
from vivavoce.server import websocket as wire
from vivavoce.server.dialects.caller import Caller, first_of
from vivavoce.server.gate import Gate
from vivavoce.settings import ServeSettings

from ..asgi import serving
from .dialogue import PATIENCE


def test_who_does_not_read_is_told_so_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "UNREAD_SECONDS", 0.1)
    settings = ServeSettings(port=0)
    gate = Gate(settings, lambda _: None)
    ended = threading.Event()
    faults: list[Fault] = []

    async def flood(websocket: WebSocket) -> None:
        with await gate.admit(websocket, "stt") as admitted:
            await websocket.accept()
            caller = Caller(websocket, admitted, 0.2)
            try:
                while True:
                    await caller.say(bytes(100_000))
            except StreamError as error:
                faults.append(error.fault)
                await caller.close(error)
        ended.set()

    app = Starlette(routes=[WebSocketRoute("/", flood)])
    with (
        serving(app, settings) as address,
        narrow(address) as raw,
        connect(f"ws://{address}", sock=raw, compression=None, ping_interval=None, max_queue=1) as client,
    ):
        assert ended.wait(PATIENCE)
        assert faults == [Fault.SLOW_READER]
        with pytest.raises(ConnectionClosed):
            exhaust(client)


def exhaust(client: ClientConnection) -> None:
    for _ in range(10_000):
        client.recv(PATIENCE)


def narrow(address: str) -> socket.socket:
    """A socket whose buffer for what comes is as small as can be."""
    host, port = address.split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    made.connect((host, int(port)))
    return made


def test_of_several_sides_the_first_to_end_ends_all() -> None:
    told: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    async def fails() -> None:
        raise StreamError(Fault.GOING_AWAY)

    with pytest.raises(StreamError):
        asyncio.run(first_of(waits(), fails()))
    assert told == ["cancelled"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_sides_are_gone_when_they_have_ended(fails: bool) -> None:
    """Without a turn of the collector of cycles: they hold a stream and all its audio."""

    class Stream:
        pass

    async def uses(stream: Stream) -> None:
        await asyncio.sleep(0)
        if fails:
            raise StreamError(Fault.NORMAL)

    async def waits(stream: Stream) -> None:
        await asyncio.Event().wait()

    async def talk(stream: Stream) -> None:
        with contextlib.suppress(StreamError):
            await first_of(uses(stream), waits(stream))

    async def main() -> None:
        stream = Stream()
        kept = weakref.ref(stream)
        await talk(stream)
        del stream
        await asyncio.sleep(0)  # what woke us up still holds the others' ends
        assert kept() is None

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
