"""A client that speaks as much of a websocket as it is told to, right or wrong: bytes over a TCP connection."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

PATIENCE = 40  # seconds; a bound for what hangs, no measurement
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HEADERS = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(range(16))).decode(),
}


@dataclass(frozen=True)
class Frame:
    """One frame of the server's."""

    opcode: int
    payload: bytes
    fin: bool
    reserved: int
    masked: bool

    @property
    def close_code(self) -> int | None:
        """Of a close frame."""
        return struct.unpack(">H", self.payload[:2])[0] if self.payload else None


@dataclass(frozen=True)
class Head:
    """The answer to the handshake."""

    status: int
    headers: dict[str, str]  # names in lower case


class Raw:
    """`with Raw(url) as client: client.upgrade("/v1/stream")`; leaving the block drops it without a close frame."""

    def __init__(self, url: str, receive_bytes: int | None = None) -> None:
        place = urlsplit(url)
        self.socket = socket.socket()
        if (
            receive_bytes
        ):  # before it connects: the window is agreed on then; short segments keep the peer's buffer small
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((place.hostname, place.port))
        self._file = self.socket.makefile("rb")

    def upgrade(self, path: str, changes: dict[str, str | None] = {}, method: str = "GET") -> Head:  # noqa: B006
        """The handshake, with headers changed or (None) left out."""
        headers = {name: value for name, value in {**HEADERS, **changes}.items() if value is not None}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        return self.head()

    def head(self) -> Head:
        """The status line and the headers of an answer."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Head(status, headers)

    def send(
        self, opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bool = True
    ) -> None:
        """One frame."""
        self.socket.sendall(frame(opcode, payload, fin=fin, reserved=reserved, mask=mask))

    def next(self) -> Frame | None:
        """The next frame; None when the connection has ended."""
        try:
            first, second = self._exactly(2)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
            return Frame(first & 15, self._exactly(length), bool(first & 0x80), first >> 4 & 7, bool(second & 0x80))
        except (EOFError, ConnectionError):
            return None

    def rest(self) -> list[Frame]:
        """Frames until the connection ends."""
        frames = []
        while (one := self.next()) is not None:
            frames.append(one)
        return frames

    def until(self, opcode: int) -> Frame:
        """The next frame of that kind, whatever comes before it."""
        while (one := self.next()) is not None:
            if one.opcode == opcode:
                return one
        raise AssertionError(f"the connection ended without a frame of opcode {opcode}")

    def reset(self) -> None:
        """End the connection as a crash does: RST, no FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    def drop(self) -> None:
        """End the connection without a close frame."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self.drop()

    def _exactly(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise EOFError
        return data


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bool = True) -> bytes:
    """A frame as clients send it, unless told otherwise."""
    size = len(payload)
    short, long = (size, b"") if size < 126 else (126, struct.pack(">H", size)) if size < 65_536 else (
        127, struct.pack(">Q", size)
    )  # fmt: skip
    head = bytes([fin << 7 | reserved << 4 | opcode, mask << 7 | short]) + long
    return head + (masked(payload) if mask else payload)


def masked(payload: bytes, key: bytes | None = None) -> bytes:
    """The key and the payload under it."""
    key = key or os.urandom(4)
    length = len(payload)
    stretched = (key * (length // 4 + 1))[:length]
    return key + (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(length, "big")


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """`data`, cut."""
    return (data[at : at + size] for at in range(0, len(data), size))
