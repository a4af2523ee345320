"""What a worker is told when it begins."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import BinaryIO

from vivavoce.settings import ServeSettings

_LENGTH = 4  # bytes


@dataclass(frozen=True)
class Orders:
    """The settings, and what the main process has made for it."""

    settings: ServeSettings
    process: int  # of all that this server has ever begun
    started: float  # when the server was
    wait: bool  # the engines are ready: nobody is served before they are known
    port: int
    wyoming: int | None  # port
    channel: int  # a socket, by its number
    lines: dict[str, int]  # to the engines, by the module's label

    def pack(self) -> bytes:
        """For its standard input, which stays open."""
        data = pickle.dumps(self)
        return len(data).to_bytes(_LENGTH, "little") + data

    @staticmethod
    def read(file: BinaryIO) -> Orders:
        orders = pickle.loads(file.read(int.from_bytes(file.read(_LENGTH), "little")))
        assert isinstance(orders, Orders)
        return orders
