"""Wyoming's framing: a line of JSON, then perhaps more JSON, then perhaps bytes, over TCP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec

from vivavoce.core import Fault, StreamError

from .msgpack import invalid

LONGEST_LINE = 65_536  # bytes
LARGEST_DATA = 1 << 20  # bytes of JSON behind the line


@dataclass(frozen=True)
class Event:
    """One message of either side."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""

    def encode(self) -> bytes:
        """As it is sent."""
        data = msgspec.json.encode(self.data) if self.data else b""
        head: dict[str, Any] = {"type": self.type}
        head |= {"data_length": len(data)} if data else {}
        head |= {"payload_length": len(self.payload)} if self.payload else {}
        return msgspec.json.encode(head) + b"\n" + data + self.payload


class _Head(msgspec.Struct):
    type: str
    data: dict[str, Any] | None = None
    data_length: int | None = None
    payload_length: int | None = None


async def read(reader: asyncio.StreamReader, most: int) -> Event | None:
    """The next event, whose payload has at most so many bytes; None when the client has gone.

    `reader` must have been made with the limit LONGEST_LINE. Raises StreamError INVALID_MESSAGE, TOO_LARGE.
    """
    try:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            return None
        head = _decoded(line, _Head)
        data = head.data or {}
        if size := _size("data_length", head.data_length, LARGEST_DATA):
            data |= _decoded(await reader.readexactly(size), dict[str, Any])
        payload = await reader.readexactly(_size("payload_length", head.payload_length, most))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except ValueError:
        raise StreamError(Fault.TOO_LARGE, f"a line of more than {LONGEST_LINE} bytes") from None
    return Event(head.type, data, payload)


def _decoded(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise invalid(f"an event is a line of JSON with a type: {error}") from None


def _size(name: str, value: int | None, most: int) -> int:
    if (value or 0) < 0:
        raise invalid(f"{name} is {value}")
    if (value or 0) > most:
        raise StreamError(Fault.TOO_LARGE, f"{name} is {value}; the limit is {most}")
    return value or 0
