"""Writing MessagePack as moshi-server does: the smallest integers, texts and arrays; floats as they are asked for."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_SINGLE = np.dtype([("first", "u1"), ("value", ">f4")])
_OCTETS = [bytes([value]) if value < 0x80 else bytes([0xCC, value]) for value in range(256)]


def kind(name: str, fields: int = 0) -> bytes:
    """The beginning of a message: a map of so many fields, and its type."""
    return bytes([0x81 + fields]) + b"\xa4type" + text(name)


def integer(value: int) -> bytes:
    """Of 64 bits."""
    if -0x20 <= value < 0x80:
        return struct.pack(">b", value)
    widths = (("\xcc", "B"), ("\xcd", "H"), ("\xce", "I"), ("\xcf", "Q"))
    if value < 0:
        widths = (("\xd0", "b"), ("\xd1", "h"), ("\xd2", "i"), ("\xd3", "q"))
    bits = value.bit_length() if value > 0 else (-value - 1).bit_length() + 1
    first, form = widths[(bits > 8) + (bits > 16) + (bits > 32)]
    return first.encode("latin-1") + struct.pack(">" + form, value)


def double(value: float) -> bytes:
    return b"\xcb" + struct.pack(">d", value)


def text(value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    length = len(data)
    if length < 0x20:
        return bytes([0xA0 | length]) + data
    if length < 0x100:
        return struct.pack(">BB", 0xD9, length) + data
    if length < 0x10000:
        return struct.pack(">BH", 0xDA, length) + data
    return struct.pack(">BI", 0xDB, length) + data


def array(length: int) -> bytes:
    """The beginning of an array."""
    if length < 0x10:
        return bytes([0x90 | length])
    return struct.pack(">BH", 0xDC, length) if length < 0x10000 else struct.pack(">BI", 0xDD, length)


def singles(values: NDArray[np.float32]) -> bytes:
    """An array of floats of 32 bits."""
    packed = np.empty(len(values), _SINGLE)
    packed["first"], packed["value"] = 0xCA, values
    return array(len(values)) + packed.tobytes()


def octets(data: bytes) -> bytes:
    """An array of integers 0 to 255, which is how moshi-server writes bytes."""
    return array(len(data)) + b"".join(_OCTETS[value] for value in data)
