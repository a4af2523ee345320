"""The client's end of one websocket, whatever is spoken over it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.core import Fault, StreamError

from ..errors import reason
from ..gate import SMALL_MESSAGE, Admitted
from ..websocket import QUICK, PatientWebSocket, framed


class Caller:
    """Sends with a deadline, reads under the gate's limits, closes with a code and a reason.

    Methods raise WebSocketDisconnect when the client has gone; its code tells how.
    """

    def __init__(self, websocket: WebSocket, admitted: Admitted, send_seconds: float) -> None:
        self.admitted, self.who = admitted, admitted.who
        self.said_at = time.monotonic()
        self._listens = False  # for the next message; none before it waits
        self._wire: PatientWebSocket | None = websocket.scope.get("extensions", {}).get(QUICK)
        self._websocket, self._send_seconds = websocket, send_seconds

    async def say(self, message: bytes | str) -> None:
        """One message. Raises StreamError(SLOW_READER) when the client takes longer than send_seconds to make room."""
        try:
            async with asyncio.timeout(self._send_seconds):
                if isinstance(message, bytes):
                    await self._websocket.send_bytes(message)
                else:
                    await self._websocket.send_text(message)
        except TimeoutError:
            why = f"the client has not read for {self._send_seconds:g} s"
            raise StreamError(Fault.SLOW_READER, why) from None
        self.said_at = time.monotonic()

    async def hear(self, counted: bool = True) -> bytes | str:
        """The next message. Raises StreamError TOO_LARGE or RATE_LIMITED; not `counted`, `count` is left to you."""
        self._listens = True
        try:
            message = await self._websocket.receive()
        finally:
            self._listens = False
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        data: bytes | str = message["bytes"] if message.get("bytes") is not None else message["text"]
        self.admitted.message(len(data), counted)
        return data

    @contextlib.contextmanager
    def quickly(self, take: Callable[[bytes], bool]) -> Iterator[None]:
        """Meanwhile binary messages that carry audio go to `take`, if nothing came before them that `hear` has not
        given. It hears one at once and returns True, or leaves it to `hear`; it must not raise."""
        wire = self._wire
        if wire is None or self.admitted.pays:  # another server's websocket, or an account's quota is asked first
            yield
            return

        def heard(message: bytes) -> bool:
            return self._listens and len(message) >= SMALL_MESSAGE and take(message)

        wire.hear_now = heard
        try:
            yield
        finally:
            wire.hear_now = None

    @property
    def reads(self) -> bool:
        """Whether `say_now` may be used: what is sent goes out without waiting."""
        return self._wire is not None and self._wire.reads

    def say_now(self, messages: Sequence[bytes], *, text: bool = False) -> None:
        """All of them, as text if they are UTF-8, while the client `reads`."""
        assert self._wire, "there is no quick way"
        self._wire.say_now(b"".join([framed(message, text) for message in messages]))
        self.said_at = time.monotonic()

    def count(self) -> None:
        """A message that nothing else paces. Raises StreamError(RATE_LIMITED)."""
        self.admitted.message(0)

    async def hang_up(self) -> None:
        """Closes without a code, which is how moshi-server says that all was spoken."""
        with contextlib.suppress(WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(self._send_seconds):
                await self._websocket.send({"type": "websocket.close", "code": None})

    async def close(
        self,
        error: StreamError | None = None,
        farewell: bytes | str | None = None,
        how: tuple[int, str] | None = None,
    ) -> None:
        """Closes with the error's code and reason (1000 without one) or `how` else, after a last message, if any.

        A client that does not read, or has gone, is not waited for.
        """
        code, why = how or ((error.fault.close_code, reason(error)) if error else (Fault.NORMAL.close_code, ""))
        with contextlib.suppress(StreamError, WebSocketDisconnect, TimeoutError):
            if farewell is not None and not (error and error.fault is Fault.SLOW_READER):
                await self.say(farewell)
            async with asyncio.timeout(self._send_seconds):
                await self._websocket.close(code, why)


async def first_of(*sides: Coroutine[Any, Any, None]) -> None:
    """Runs them side by side until one returns or raises, as this then does; the others are cancelled."""
    tasks = [asyncio.ensure_future(side) for side in sides]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    ended = [task for task in tasks if task in done]  # in their order, when two have ended at once
    try:
        while ended:
            ended.pop(0).result()
    finally:  # what was raised holds this frame, and a task holds what was raised
        del tasks, done, ended
