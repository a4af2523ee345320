"""Calls between a server's main process and a worker: each asks the other by name, and trusts it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import pickle
import socket
from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any, cast

from vivavoce.runtime.parcels import Parcels, head

logger = logging.getLogger(__name__)


class Channel(asyncio.Protocol):
    """One end. `answers` are what the other end may call; they may be coroutine functions. What crosses is pickled."""

    _transport: asyncio.Transport

    def __init__(self, answers: Mapping[str, Callable[..., Any]]) -> None:
        self.closed = asyncio.Event()
        self._answers, self._parcels = answers, Parcels()
        self._numbers = itertools.count()
        self._calls = dict[int, asyncio.Future[Any]]()
        self._tasks = set[asyncio.Task[None]]()

    @classmethod
    async def over(cls, connection: socket.socket, answers: Mapping[str, Callable[..., Any]]) -> Channel:
        """An end over one of two connected sockets."""
        channel = cls(answers)
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=connection)
        return channel

    async def call(self, name: str, *arguments: Any) -> Any:
        """What the other end answers. Raises ConnectionError when it has gone, and what the answer raised there."""
        number = next(self._numbers)
        self._calls[number] = answer = asyncio.get_running_loop().create_future()
        self._send(number, name, arguments)
        try:
            return await answer
        finally:
            self._calls.pop(number, None)

    def tell(self, name: str, *arguments: Any) -> None:
        """The same without an answer."""
        self._send(None, name, arguments)

    async def finish(self) -> None:
        """When all that was told has been sent."""
        await asyncio.sleep(0)  # what other threads told
        self._transport.close()
        await self.closed.wait()

    def close(self) -> None:
        """At once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """For the event loop."""
        for parcel, _ in self._parcels.open(data):
            number, name, content = pickle.loads(parcel)
            if name is None:
                self._answered(number, content)
            else:
                task = asyncio.create_task(self._answer(number, name, content))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """For the event loop."""
        self.closed.set()
        for number in list(self._calls):
            self._answered(number, ConnectionResetError("the other process has gone"))

    def _send(self, number: int | None, name: str | None, content: Any) -> None:
        if self._transport.is_closing():
            if number is not None and name is not None:
                self._answered(number, ConnectionResetError("the other process has gone"))
            return
        self._transport.write(head(pickle.dumps((number, name, content))))

    async def _answer(self, number: int | None, name: str, arguments: tuple[Any, ...]) -> None:
        try:
            answer = self._answers[name](*arguments)
            answer = await answer if isawaitable(answer) else answer
        except Exception as error:
            if number is None:
                logger.exception("What another process told could not be taken")
            answer = error
        if number is not None:
            self._send(number, None, answer)

    def _answered(self, number: int, answer: Any) -> None:
        waiting = self._calls.get(number)
        if waiting and not waiting.done():
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
