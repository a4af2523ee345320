"""One websocket connection of a stream, from its first message until it breaks or everything is said."""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from vivavoce import core
from vivavoce.core import Flush

from .address import Target
from .backlog import Audio, Item
from .talk import Talk
from .wire import Frame, Problem, Ready, Signal

RESUME = 20.0  # seconds for the first message of a session that goes on
FIRST_MESSAGE = 2.0  # seconds; servers that never say `ready` exist
KEEPALIVE = 5.0  # seconds without anything to send; servers have been known to lose patience after 10


class Link:
    """Carries a talk over one socket; raises what the socket raises when it breaks."""

    def __init__(self, socket: ClientConnection, target: Target, talk: Talk) -> None:
        self._socket, self._target, self._talk = socket, target, talk

    async def run(self) -> None:
        """Until the talk has finished."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if not self._talk.finished:
            for error in results:
                if isinstance(error, Exception):
                    raise error

    async def greet(self) -> None:
        """The first message decides whether a session goes on; it may be missing only where none does.

        Raises what the server says instead of a welcome.
        """
        resuming = self._talk.session is not None
        said: list[core.Event | Signal] = []
        try:
            async with asyncio.timeout(RESUME if resuming else FIRST_MESSAGE):
                said = self._talk.wire.decode(await self._socket.recv())
        except TimeoutError:
            if resuming:
                raise
        ready = said[0] if said and isinstance(said[0], Ready) else None
        if said and isinstance(said[0], Problem):
            raise said[0].error
        await self._talk.connected(self._target.shown, self._target.dialect, ready)
        for event in said if ready is None else said[1:]:
            await self._talk.hear(event)

    async def _read(self) -> None:
        talk = self._talk
        try:
            while not talk.finished:
                for said in talk.wire.decode(await self._socket.recv()):
                    await talk.hear(said)
        except ConnectionClosed as closed:
            code = None if closed.rcvd is None else closed.rcvd.code
            if code != 1000 or not talk.backlog.end_sent:
                raise
            await talk.finish()

    async def _write(self) -> None:
        talk = self._talk
        while not (talk.finished or (talk.backlog.end_sent and talk.wire.patience() is None)):
            if talk.backlog:
                frame = self._frame(talk.backlog.next())
                talk.taken.set()
                await self._socket.send(frame)
            elif talk.backlog.end_sent:
                await asyncio.sleep(core.FRAME_SECONDS)
                await self._socket.send(talk.wire.patience() or b"")
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Until there is something to send."""
        self._talk.to_send.clear()
        try:
            async with asyncio.timeout(KEEPALIVE):  # wait_for of Python 3.11 may swallow a cancellation
                await self._talk.to_send.wait()
        except TimeoutError:
            await self._socket.send(self._talk.wire.keepalive())

    def _frame(self, item: Item) -> Frame:
        if isinstance(item, Audio):
            return self._talk.wire.audio(item.samples)
        return self._talk.wire.flush(item) if isinstance(item, Flush) else self._talk.wire.end()
