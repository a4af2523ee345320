"""The server's end of the line to an engine's process, or to the main process that has it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import messages
from .message import Message
from .messages import Frames
from .parcels import Parcels, head

log = logging.getLogger("vivavoce.engine")
TOGETHER = 0.004  # seconds: frames that come within this behind others are one message


class Line(asyncio.Protocol):
    """Messages out in the order of `send`; in by `hear`, which whoever takes the line sets before it awaits, or else by
    `listen`."""

    _transport: asyncio.Transport

    def __init__(self, decode: Callable[[memoryview], Sequence[Any]] = messages.decode_from_engine) -> None:
        self._early = list[Any]()
        self.hear: Callable[[Any], None] = self._early.append
        self.garbled: Callable[[], None] = lambda: None  # what came cannot be taken, and nothing more is
        self.silent = asyncio.Event()  # the other end has been closed
        self._decode, self._parcels = decode, Parcels()
        self._outbox = list[Message]()
        self._audio = list[memoryview]()  # of the frames in it, bytes
        self._loop = asyncio.get_running_loop()
        self._flushing: asyncio.Handle | None = None
        self._flushed = 0.0  # when

    @classmethod
    async def open(cls) -> tuple[Line, socket.socket]:
        """A line, and its other end for the process that is to be begun."""
        ours, theirs = socket.socketpair()
        try:
            _, line = await asyncio.get_running_loop().create_unix_connection(cls, sock=ours)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return line, theirs

    def listen(self, hear: Callable[[Any], None]) -> None:
        """Hear what comes, and first what has come already."""
        early, self._early = self._early, []
        self.hear = hear
        for message in early:
            hear(message)

    def send(self, message: Message) -> None:
        """All messages of one turn of the event loop travel together."""
        self._outbox.append(message)
        self._flush_at(0.0)

    def send_frame(self, stream: int, samples: NDArray[np.float32], afresh: bool) -> None:
        """float32 [1920], which must not change any more. Frames may wait a little for those of others: a parcel costs
        both processes far more than what is in it, and one step of many streams less than many."""
        if not (self._outbox and isinstance(frames := self._outbox[-1], Frames)):
            self._outbox.append(frames := Frames([], []))
        if afresh:
            frames.afresh.append(len(frames.streams))
        frames.streams.append(stream)
        self._audio.append(samples.data.cast("B"))
        if self._flushing is None:
            self._flush_at(self._flushed + TOGETHER)

    def forward(self, parcel: bytes | bytearray | memoryview, audio: bytes | memoryview) -> None:
        """Messages that are packed already, and their audio, now: before those that `send` has kept."""
        if not self._transport.is_closing():
            self._transport.writelines([head(parcel, len(audio)), audio] if audio else [head(parcel)])

    def close(self) -> None:
        """At once: what has not been sent will not be."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For the event loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """For the event loop."""
        try:
            for parcel, _ in self._parcels.open(data):
                for message in self._decode(parcel):
                    self.hear(message)
        except Exception:
            log.exception("The engine sent what cannot be taken")
            self.close()
            self.garbled()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """For the event loop."""
        self.silent.set()

    def _flush_at(self, when: float) -> None:
        if self._flushing:
            self._flushing.cancel()
        soon = when <= self._loop.time()
        self._flushing = self._loop.call_soon(self._flush) if soon else self._loop.call_at(when, self._flush)

    def _flush(self) -> None:
        batch, audio = self._outbox, self._audio
        self._outbox, self._audio = [], []
        self._flushing, self._flushed = None, self._loop.time()
        if not self._transport.is_closing():
            self._transport.writelines([head(messages.encode(batch), sum(map(len, audio))), *audio])
