"""What travels on the line between the server and an engine's process: parcels of messages, and audio beside them.

A parcel is the length of its messages and the length of its audio, four bytes each; the messages, msgpack; the audio
as it lies in memory, so that nobody packs or unpacks it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEAD = struct.Struct("<II")


def head(messages: bytes | bytearray | memoryview, audio: int = 0) -> bytes:
    """The beginning of a parcel with so many bytes of audio, which follow."""
    return _HEAD.pack(len(messages), audio) + messages


class Parcels:
    """Cuts what comes, however it comes, into parcels."""

    def __init__(self) -> None:
        self._held = bytearray()  # the beginning of a parcel

    def open(self, data: bytes) -> Iterator[tuple[memoryview, memoryview]]:
        """The messages and the audio of each parcel that is whole now."""
        whole: bytes | bytearray = data
        if self._held:
            self._held += data
            if len(self._held) < self._length(self._held, 0):
                return
            whole, self._held = self._held, bytearray()
        view, at = memoryview(whole), 0
        while (end := at + self._length(view, at)) <= len(view):
            begin = at + _HEAD.size
            between = begin + _HEAD.unpack_from(view, at)[0]
            yield view[begin:between], view[between:end]
            at = end
        self._held += view[at:]

    def _length(self, data: bytearray | memoryview, at: int) -> int:
        """Bytes of the parcel that begins there, as far as is known."""
        if len(data) < at + _HEAD.size:
            return _HEAD.size
        return _HEAD.size + sum(_HEAD.unpack_from(data, at))
