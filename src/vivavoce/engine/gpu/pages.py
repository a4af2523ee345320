"""Which stream has which pages of memory. On the host: a step only tells the device what changed."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Fault, StreamError

logger = logging.getLogger(__name__)
NONE = 0  # the page that belongs to nobody: what is written there is never read
Numbers = NDArray[np.int64]


class Pages:
    """Pages of `size` positions, taken as streams hear and given back when they end.

    A slot's pages form a ring of `ring` entries. A stream is promised `promise` of them when it begins and has more
    while there are any; then it writes over its own oldest one, and hears less far back.
    """

    def __init__(self, slots: int, ring: int, count: int, size: int, promise: int) -> None:
        assert 2 <= promise <= ring, f"a promise of {promise} pages of {ring}"
        self.size, self.ring, self._promise = size, ring, promise
        self.table = np.full((slots, ring), NONE, np.int32)
        self.oldest = np.zeros(slots, np.int64)  # the first position that a slot keeps
        self._stretch = np.full((slots, ring), -1, np.int64)  # which one of the stream an entry keeps: position / size
        self._held = np.full(slots, -1, np.int64)  # how many pages; -1: no stream
        self._free = list(range(count, NONE, -1))
        self._promised = 0  # of the free ones
        self._short = False  # that they ran out was said

    @property
    def free(self) -> int:
        """Pages that nobody has and nobody was promised."""
        return len(self._free) - self._promised

    def open(self, slot: int, oldest: int = 0) -> None:
        """Another stream, which hears from position `oldest` on. Raises StreamError when there is no room for it."""
        self.close(slot)
        if self.free < self._promise:
            detail = f"the memory of one more stream takes {self._promise} pages, {self.free} are free"
            raise StreamError(Fault.CAPACITY, detail)
        self._promised += self._promise
        self._held[slot], self.oldest[slot] = 0, oldest

    def close(self, slot: int) -> None:
        """The stream, if there is one, is over."""
        if self._held[slot] >= 0:
            self._promised -= max(0, self._promise - int(self._held[slot]))
        self._free += [int(page) for page in self.table[slot] if page != NONE]
        self.table[slot], self._stretch[slot], self._held[slot] = NONE, -1, -1

    def reach(self, slots: Numbers, positions: Numbers) -> tuple[Numbers, NDArray[np.int32], set[int]]:
        """Entries and pages for one position of each slot, in rising order, and the slots whose `oldest` this moved."""
        stretches = positions // self.size
        entries = stretches % self.ring
        moved = set[int]()
        for row in np.flatnonzero(self._stretch[slots, entries] != stretches):
            slot, entry = int(slots[row]), int(entries[row])
            if self.table[slot, entry] == NONE:
                moved |= self._take(slot, entry)
            self._stretch[slot, entry] = stretches[row]
        return entries, self.table[slots, entries], moved

    def _take(self, slot: int, entry: int) -> set[int]:
        if self._held[slot] < 0:
            self.open(slot)
        if promised := self._held[slot] < self._promise:
            self._promised -= 1
        if promised or self.free > 0:
            self.table[slot, entry] = self._free.pop()
            self._held[slot] += 1
            return set()
        self.table[slot, entry] = self._oldest_of(slot)
        return {slot}

    def _oldest_of(self, slot: int) -> int:
        """Take the slot's oldest page from it."""
        if not self._short:
            logger.warning("Memory is full: the longest streams hear less than the model's whole context")
            self._short = True
        there = self._stretch[slot] >= 0
        entry = int(np.where(there, self._stretch[slot], np.iinfo(np.int64).max).argmin())
        page = int(self.table[slot, entry])
        self.oldest[slot] = (self._stretch[slot, entry] + 1) * self.size
        self.table[slot, entry], self._stretch[slot, entry] = NONE, -1
        return page
