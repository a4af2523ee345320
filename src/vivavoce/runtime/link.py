"""The engine's end of the line to its parent."""

from __future__ import annotations

import logging
import math
import select
import socket
import sys
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_SIZE

from . import messages
from .messages import Frames, FromEngine, Malformed, ToEngine
from .parcels import Parcels, head

log = logging.getLogger("vivavoce.engine")
Audio = NDArray[np.float32]
_AT_ONCE = 1 << 20  # bytes


class Link:
    """A socket that the parent has made, by its number; sending blocks; for one thread."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        self._parcels = Parcels()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def receive(self, wait: float | None) -> list[tuple[ToEngine, Audio]]:
        """Everything that has come, after sleeping at most `wait` seconds for it; None sleeps until something comes.

        With each message its audio, float32 [n, 1920]: rows for `Frames`, none for the others.
        """
        heard = list[tuple[ToEngine, Audio]]()
        while self._poll.poll(None if wait is None else math.ceil(wait * 1000)):
            while data := self._arrived():
                for parcel, audio in self._parcels.open(data):
                    heard += self._read(parcel, audio)
            if heard or wait is not None:
                break  # else what came was the beginning of a message, or unreadable: sleep on
        return heard

    def send(self, told: Sequence[FromEngine]) -> None:
        self._socket.sendall(head(messages.encode(told)))

    def close(self) -> None:
        """What has been sent arrives, also when this process ends now."""
        self._socket.close()

    def _arrived(self) -> bytes:
        """Bytes that are there; none when all have been read. The process ends when the parent has hung up."""
        try:
            data = self._socket.recv(_AT_ONCE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        if not data:
            sys.exit(0)
        return data

    def _read(self, parcel: memoryview, audio: memoryview) -> list[tuple[ToEngine, Audio]]:
        try:
            told = messages.decode_to_engine(parcel)
            rows = np.frombuffer(audio, np.float32).reshape(-1, FRAME_SIZE)
            counts = [len(message.streams) if isinstance(message, Frames) else 0 for message in told]
            if sum(counts) != len(rows):
                raise ValueError(f"{sum(counts)} frames have the audio of {len(rows)}")
        except (msgspec.DecodeError, ValueError) as error:
            log.error("A parcel of %d and %d bytes cannot be read: %s", len(parcel), len(audio), error)
            self.send([Malformed(str(error))])
            return []
        return list(zip(told, np.split(rows, np.cumsum(counts)[:-1]), strict=True))
