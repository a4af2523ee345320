"""What a caller of text to speech has asked for and was not done yet."""

from __future__ import annotations

import asyncio
from collections import deque

from vivavoce.core import StreamError

from . import speech_codec

MOST = 1 << 20  # characters of text and bytes of voices that may wait; a novel has about so many
_EACH = 64  # what one costs besides

Order = speech_codec.Request | StreamError  # a message, or why it is none


class Orders:
    """One caller's, in the order in which they came; bounded by MOST and one message."""

    def __init__(self) -> None:
        self._waiting = deque[Order]()
        self._size = 0
        self._changed = asyncio.Condition()

    async def put(self, order: Order) -> None:
        """Waits while there is no room."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < MOST)
            self._waiting.append(order)
            self._size += _size(order)
            self._changed.notify_all()

    async def take(self) -> Order:
        """The oldest; waits for one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting)
            order = self._waiting.popleft()
            self._size -= _size(order)
            self._changed.notify_all()
            return order

    def take_all(self) -> list[Order]:
        """All that wait."""
        orders = list(self._waiting)
        self._waiting.clear()
        self._size = 0
        return orders


def _size(order: Order) -> int:
    match order:
        case speech_codec.Text(text):
            return _EACH + len(text)
        case speech_codec.Voice(embedding):
            return _EACH + embedding.nbytes
    return _EACH
