"""The engine's end of the line to its parent."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import msgspec
import zmq

from . import messages
from .messages import FromEngine, Malformed, ToEngine

log = logging.getLogger("vivavoce.engine")


class Link:
    """A ZeroMQ PAIR, blocking; for one thread."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PAIR)
        self._socket.set_hwm(0)  # the parent bounds what is on the way, frame by frame
        self._socket.connect(address)

    def receive(self, wait: float | None) -> list[ToEngine]:
        """Everything that has come, after sleeping at most `wait` seconds for it; None sleeps until something comes."""
        if not self._socket.poll(None if wait is None else math.ceil(wait * 1000)):
            return []
        heard = list[ToEngine]()
        while True:
            try:
                data = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                if heard or wait is not None:
                    return heard
                self._socket.poll()  # what came was unreadable: sleep on
                continue
            heard += self._read(data)

    def send(self, told: Sequence[FromEngine]) -> None:
        self._socket.send(messages.encode(told))

    def close(self) -> None:
        """Wait until everything has been sent."""
        self._socket.close(linger=5000)
        self._context.term()

    def _read(self, data: bytes) -> list[ToEngine]:
        try:
            return messages.decode_to_engine(data)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            log.error("A message of %d bytes cannot be read: %s", len(data), error)
            self.send([Malformed(str(error))])
            return []
