"""Reading MessagePack by hand: whatever a client may send, in bounded time and memory, without recursion.

A general unpacker would build a Python object for each sample; here an array of numbers goes straight to numpy, also
when its elements are of mixed widths, as JavaScript sends them (0 and 1 as integers, all else as doubles).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Fault, StreamError

MOST_SKIPPED = 4_096  # values under keys that nobody asked for; numbers in an array not counted
_WINDOW = 65_536  # bytes of a mixed array that are looked at together

_FIXED = {  # first byte: (length of the whole value, how struct and numpy read what follows it)
    0xC0: (1, ""), 0xC2: (1, ""), 0xC3: (1, ""), 0xCA: (5, ">f4"), 0xCB: (9, ">f8"),
    0xCC: (2, ">u1"), 0xCD: (3, ">u2"), 0xCE: (5, ">u4"), 0xCF: (9, ">u8"),
    0xD0: (2, ">i1"), 0xD1: (3, ">i2"), 0xD2: (5, ">i4"), 0xD3: (9, ">i8"),
    0xD4: (3, ""), 0xD5: (4, ""), 0xD6: (6, ""), 0xD7: (10, ""), 0xD8: (18, ""),
}  # fmt: skip
_TEXT = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_EXT = {0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}
_ARRAY = {0xDC: ">H", 0xDD: ">I"}
_MAP = {0xDE: ">H", 0xDF: ">I"}

# How many bytes a number takes, by its first byte; 0 for what is no number.
_SIZES = bytearray(256)
_SIZES[:0x80], _SIZES[0xE0:] = b"\1" * 0x80, b"\1" * 0x20
for _first, (_length, _kind) in _FIXED.items():
    _SIZES[_first] = _length if _kind else 0
_FLOATS = (0xCA, 0xCB)


class Reader:
    """A place in one message. Every method raises StreamError(INVALID_MESSAGE) for what it cannot read."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at
        self._skipped = 0

    def fork(self) -> Reader:
        """Another reader at this place."""
        return Reader(self._data, self._at)

    def container(self) -> tuple[str, int]:
        """Opens a map or an array: "map" and its pairs, or "array" and its elements."""
        first = self._byte()
        if 0x80 <= first <= 0x8F or first in _MAP:
            return "map", self._count(first, _MAP, 0x0F, 2)
        if 0x90 <= first <= 0x9F or first in _ARRAY:
            return "array", self._count(first, _ARRAY, 0x0F, 1)
        raise invalid(f"a message is a MessagePack map, this one starts with the byte {first:#04x}")

    def name(self) -> bytes | int | None:
        """A text, bytes or a small number that names something; None (and skipped) for any other value."""
        first = self._peek()
        if self._is_text(first) or first in _BYTES:
            return self._chunk()
        if self._is_int(first):
            return self.integer("a name")
        self.skip()
        return None

    def integer(self, what: str) -> int:
        """An integer of any width."""
        first = self._byte()
        if not self._is_int(first):
            raise invalid(f"{what} must be an integer, got {_called(first)}")
        if first not in _FIXED:
            return first if first < 0x80 else first - 0x100
        length, kind = _FIXED[first]
        return int.from_bytes(self._take(length - 1), "big", signed=kind[1] == "i")

    def samples(self, what: str) -> NDArray[np.float32]:
        """An array of numbers, or bytes that hold little-endian float32: float32 [n], the caller's own."""
        if self._peek() in _BYTES:
            data = self._chunk()
            if len(data) % 4:
                raise invalid(f"{what} as bytes holds float32, but its length of {len(data)} is not a multiple of 4")
            return np.frombuffer(data, "<f4").astype(np.float32)
        count = self._elements(what)
        if count and (uniform := self._uniform(count)) is not None:
            return uniform
        parts = [_narrow(values) for values, _ in self._numbers(what, count)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _uniform(self, count: int) -> NDArray[np.float32] | None:
        """`count` floats of the same width or one-byte integers, which is what nearly every client sends."""
        kind = {0xCA: ">f4", 0xCB: ">f8"}.get(self._peek())
        fields = np.dtype([("first", "u1"), ("value", kind)] if kind else [("first", "i1")])
        if self._left < count * fields.itemsize:
            return None
        array = np.frombuffer(self._data, fields, count, self._at)
        firsts = array["first"]
        if not ((firsts == firsts[0]) if kind else (firsts >= -0x20)).all():
            return None
        self._at += array.nbytes
        return _narrow(array["value" if kind else "first"])

    def octets(self, what: str) -> bytes:
        """An array of integers 0 to 255, or the bytes themselves."""
        if self._peek() in _BYTES:
            return self._chunk()
        parts = []
        for values, floats in self._numbers(what, self._elements(what)):
            if floats or (values < 0).any() or (values > 255).any():
                raise invalid(f"{what} must be integers from 0 to 255")
            parts.append(values.astype(np.uint8).tobytes())
        return b"".join(parts)

    def skip(self) -> None:
        """Passes over one value, whatever it is and holds."""
        waiting = 1
        while waiting:
            self._skipped += 1
            if self._skipped > MOST_SKIPPED:
                raise invalid(f"the message holds more than {MOST_SKIPPED} values that are no part of it")
            waiting += self._pass() - 1

    def _pass(self) -> int:
        """Passes over one value's own bytes; how many values it holds."""
        first = self._peek()
        if 0x80 <= first <= 0x9F or first in _MAP or first in _ARRAY:
            kind, count = self.container()
            return 2 * count if kind == "map" else count - self._pass_numbers(count)
        if self._is_text(first) or first in _BYTES:
            self._chunk()
        elif first in _EXT:
            self._at += 1
            (length,) = struct.unpack(_EXT[first], self._take(struct.calcsize(_EXT[first])))
            self._take(length + 1)
        elif first == 0xC1:
            raise invalid("the byte 0xc1 stands for nothing in MessagePack")
        else:
            self._take(_FIXED[first][0] if first in _FIXED else 1)
        return 0

    def _elements(self, what: str) -> int:
        first = self._byte()
        if not (0x90 <= first <= 0x9F or first in _ARRAY):
            raise invalid(f"{what} must be an array of numbers or bytes, got {_called(first)}")
        return self._count(first, _ARRAY, 0x0F, 1)

    def _numbers(self, what: str, count: int) -> Iterator[tuple[NDArray[np.float64], bool]]:
        """`count` numbers of any widths, in blocks: their values, and whether one of them is a float."""
        while count:
            window, starts = self._run(count)
            if not len(starts):
                first = self._peek()
                raise _too_short() if _SIZES[first] else invalid(f"{what} must hold only numbers, got {_called(first)}")
            count -= len(starts)
            yield _values(window, starts), bool(np.isin(window[starts], _FLOATS).any())

    def _pass_numbers(self, count: int) -> int:
        """Passes over the numbers that a long array begins with; how many they are."""
        passed = 0
        while count - passed > 16:
            _, starts = self._run(count - passed)
            if not len(starts):
                break
            passed += len(starts)
        return passed

    def _run(self, count: int) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """Passes over the next numbers, at most `count`, within a window: the window, and where they start."""
        window = self._data[self._at : self._at + min(_WINDOW, 9 * count)]
        starts: list[int] = []
        at, end = 0, len(window)
        while at < end and len(starts) < count:
            size = _SIZES[window[at]]
            if not size or at + size > end:
                break
            starts.append(at)
            at += size
        self._at += at
        return np.frombuffer(window, np.uint8), np.array(starts, np.intp)

    def _count(self, first: int, long: dict[int, str], mask: int, each: int) -> int:
        """How many elements a container holds; refused at once when the message cannot hold them."""
        count = int.from_bytes(self._take(struct.calcsize(long[first])), "big") if first in long else first & mask
        if count * each > self._left:
            raise invalid(f"an array or map promises {count} elements, only {self._left} bytes are left")
        return count

    def _chunk(self) -> bytes:
        first = self._byte()
        form = _TEXT.get(first) or _BYTES.get(first)
        return self._take(int.from_bytes(self._take(struct.calcsize(form)), "big") if form else first & 0x1F)

    def _take(self, length: int) -> bytes:
        if length > self._left:
            raise _too_short()
        self._at += length
        return self._data[self._at - length : self._at]

    def _peek(self) -> int:
        if not self._left:
            raise _too_short()
        return self._data[self._at]

    def _byte(self) -> int:
        return self._take(1)[0]

    @property
    def _left(self) -> int:
        return len(self._data) - self._at

    @staticmethod
    def _is_text(first: int) -> bool:
        return 0xA0 <= first <= 0xBF or first in _TEXT

    @staticmethod
    def _is_int(first: int) -> bool:
        return bool(_SIZES[first]) and first not in _FLOATS


def invalid(why: str) -> StreamError:
    """The one error of a message that cannot be read."""
    return StreamError(Fault.INVALID_MESSAGE, why)


def _too_short() -> StreamError:
    return invalid("the message breaks off in the middle of a value")


def _values(window: NDArray[np.uint8], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    firsts = window[starts]
    values = np.where(firsts < 0x80, firsts, firsts - 256.0)  # those that are their own first byte
    for first in np.unique(firsts[(firsts > 0x7F) & (firsts < 0xE0)]):
        length, kind = _FIXED[int(first)]
        chosen = np.flatnonzero(firsts == first)
        with np.errstate(invalid="ignore"):  # a signalling NaN, which the stream refuses by name
            values[chosen] = window[starts[chosen, None] + np.arange(1, length)].view(kind)[:, 0]
    return values


def _narrow(values: NDArray[np.floating]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):  # infinite then, which the stream refuses by name
        return values.astype(np.float32)


def _called(first: int) -> str:
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: "nil", 0xC2: "false", 0xC3: "true"}[first]
    if first in _FLOATS:
        return "a float"
    if _SIZES[first]:
        return "an integer"
    if 0xA0 <= first <= 0xBF or first in _TEXT:
        return "a text"
    if first in _BYTES:
        return "bytes"
    if 0x90 <= first <= 0x9F or first in _ARRAY:
        return "an array"
    if 0x80 <= first <= 0x8F or first in _MAP:
        return "a map"
    return f"the byte {first:#04x}"
