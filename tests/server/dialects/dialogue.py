"""Clients as simple as they can be: messages go out, messages come in, one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

KEY = "public_token"
PATIENCE = 40  # seconds; a bound for what hangs, no measurement
FRAME = 1920
Samples = NDArray[np.float32]


class Talk:
    """One websocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, message: bytes | str) -> None:
        self.socket.send(message)

    def next_raw(self) -> Any:
        return self.socket.recv(PATIENCE)

    def close_code(self) -> tuple[int, str]:
        """Waits for the server's close, whatever it says before."""
        try:
            while True:
                self.next_raw()
        except ConnectionClosed:
            assert self.socket.protocol.close_rcvd, "the connection was cut without a close frame"
            return self.socket.protocol.close_rcvd.code, self.socket.protocol.close_rcvd.reason


class Moshi(Talk):
    """Speaks MessagePack by the msgpack package."""

    def say(self, type: str, single: bool = True, **fields: object) -> None:
        self.send(msgpack.packb({"type": type, **fields}, use_single_float=single))

    def audio(self, samples: Samples, single: bool = True) -> None:
        self.say("Audio", single, pcm=samples.tolist())

    def next(self) -> dict[str, Any]:
        return msgpack.unpackb(self.next_raw())

    def until(self, enough: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Messages up to and with the first that is enough."""
        heard = [self.next()]
        while not enough(heard[-1]):
            heard.append(self.next())
        return heard

    def until_type(self, type: str) -> list[dict[str, Any]]:
        return self.until(lambda message: message["type"] == type)

    def steps(self, count: int) -> list[dict[str, Any]]:
        """Messages until so many Steps have come."""
        heard: list[dict[str, Any]] = []
        while sum(message["type"] == "Step" for message in heard) < count:
            heard.append(self.next())
        return heard


class Json(Talk):
    """Speaks /v1/stream."""

    def control(self, type: str, **fields: object) -> None:
        self.send(json.dumps({"type": type, **fields}))

    def next(self) -> dict[str, Any]:
        return json.loads(self.next_raw())

    def until_type(self, type: str) -> list[dict[str, Any]]:
        heard = [self.next()]
        while heard[-1]["type"] != type:
            heard.append(self.next())
        return heard


def _connected(url: str, path: str, headers: dict[str, str] | None) -> ClientConnection:
    address = "ws" + url.removeprefix("http") + path
    given = {"kyutai-api-key": KEY} if headers is None else headers
    return connect(
        address,
        additional_headers=given,
        proxy=None,
        max_size=None,
        max_queue=None,  # reads all the time, as a real client does: a pong stands behind every Step before it
        open_timeout=PATIENCE,
        compression=None,
    )


@contextmanager
def moshi(url: str, path: str = "/api/asr-streaming", headers: dict[str, str] | None = None) -> Iterator[Moshi]:
    with _connected(url, path, headers) as socket:
        yield Moshi(socket)


@contextmanager
def stream(url: str, query: str = "", headers: dict[str, str] | None = None) -> Iterator[Json]:
    with _connected(url, f"/v1/stream?{query}", headers) as socket:
        yield Json(socket)


def words(heard: list[dict[str, Any]]) -> list[str]:
    """Of either dialect."""
    return [message["text"] for message in heard if message["type"] in ("Word", "word")]


def types(heard: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in heard]
