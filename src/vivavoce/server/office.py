"""What a worker asks of the main process: the numbers of the whole server, and places that are counted over all."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from .channel import Channel
from .limits import Seats

_TOLD = ("name", "levelno", "levelname", "created", "filename", "lineno", "session")  # of a line of the log


class Office:
    """A worker's side. Methods raise ConnectionError once the main process has gone, which ends the worker too."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def metrics(self) -> bytes:
        """Of all workers together, in Prometheus's format."""
        text: bytes = await self._channel.call("metrics")
        return text

    async def workers(self) -> list[dict[str, int | bool]]:
        """Of each: number, pid, whether it is ready, streams."""
        found: list[dict[str, int | bool]] = await self._channel.call("workers")
        return found

    def listening(self) -> None:
        """Whoever connects is served."""
        self._channel.tell("listening")

    def ready(self) -> None:
        """So are streams."""
        self._channel.tell("ready")

    def seats(self, kind: str, limit: int) -> Seats:
        """Those of one kind, counted over all workers."""
        return SharedSeats(limit, kind, self._channel)

    def handler(self) -> logging.Handler:
        """Sends the log to the main process, which writes it."""
        return _Forwarder(self._channel)


class SharedSeats(Seats):
    """Seats of the whole server, of which the main process keeps the list."""

    def __init__(self, limit: int, kind: str, channel: Channel) -> None:
        super().__init__(limit)
        self._kind, self._channel = kind, channel

    async def reserve(self, name: str) -> bool:
        if not self.limit:
            return True
        asking = asyncio.ensure_future(self._channel.call("take_seat", self._kind, name))
        try:
            taken: bool = await asyncio.shield(asking)
        except asyncio.CancelledError:  # the caller has gone meanwhile
            asking.add_done_callback(lambda done: self.leave(name) if _has(done) else None)
            raise
        return taken

    def take(self, name: str) -> None:
        """It was taken when it was reserved."""

    def leave(self, name: str) -> None:
        if self.limit:
            self._channel.tell("leave_seat", self._kind, name)

    def cancel(self, name: str) -> None:
        self.leave(name)


def _has(done: asyncio.Future[bool]) -> bool:
    return not done.cancelled() and done.exception() is None and done.result()


class _Forwarder(logging.Handler):
    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel, self._loop = channel, asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        line: dict[str, object] = {name: getattr(record, name, None) for name in _TOLD}
        line["msg"] = record.getMessage()
        if record.exc_info:
            line["exc_text"] = logging.Formatter().formatException(record.exc_info)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and this process soon does
            self._loop.call_soon_threadsafe(self._channel.tell, "log", line)


def collected(registry: CollectorRegistry) -> list[Metric]:
    """All that a process has counted."""
    return list(registry.collect())
