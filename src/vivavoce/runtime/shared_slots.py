"""The slots of an engine that several workers share: the main process gives them, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prometheus_client import Gauge

from vivavoce.core import Fault, StreamError

from .guest import Guest
from .message import Message
from .shared_messages import HandedOver, Hold, Occupied, Parked, Yield
from .slots import RETRY_AFTER, Slots

G = TypeVar("G", bound=Guest[Any])


class SharedSlots(Slots[G]):
    """As seen by one worker. A stream that has been promised a slot is told its number a moment later, and waits.

    What others have is known from the last `Occupied`. Where two workers give away the last slot within the same
    millisecond, the later stream is refused when it has been opened already: `denied`.
    """

    def __init__(self, count: int, gauge: Gauge, first: int, tell: Callable[[Message], None]) -> None:
        super().__init__(count, gauge, first)
        self._tell = tell
        self._keys = dict[G, int]()  # of those that have a slot, or have asked for one
        self._guests_by_key = dict[int, G]()
        self.others = Occupied(0, 0)

    @property
    def used(self) -> int:
        return min(self.count, self.others.slots + len(self._keys))

    def must_have_one(self) -> None:
        if self.used >= self.count and not self.others.parked and self._parked_longest() is None:
            raise StreamError(Fault.CAPACITY, f"every slot is taken ({self.count} of {self.count})", RETRY_AFTER)

    def take(self, guest: G) -> None:
        self.must_have_one()
        self._tell(Hold(self._name(guest)))

    def has(self, guest: G) -> bool:
        return guest in self._keys

    def free(self, guest: G) -> None:
        super().free(guest)
        if (key := self._forget(guest)) is not None:
            self._tell(Yield(key))

    def park(self, guest: G) -> None:
        super().park(guest)
        self._tell_parked(guest)

    def unpark(self, guest: G) -> None:
        super().unpark(guest)
        self._tell_parked(guest)

    # --- what the main process says ---

    def given(self, key: int, slot: int) -> None:
        """The stream has this slot, unless it has left meanwhile."""
        if guest := self._guests_by_key.get(key):
            self._settle(guest, slot)

    def denied(self, key: int) -> G | None:
        """Others were quicker: the stream has none; None if it has left meanwhile."""
        if guest := self._guests_by_key.get(key):
            self._forget(guest)
        return guest

    def evict(self, key: int) -> None:
        """Another stream needs the slot of this one, which is parked, unless that has changed."""
        guest = self._guests_by_key.get(key)
        if guest and guest.parked:
            self.free(guest)

    # --- streams that move from worker to worker ---

    def expect(self) -> int:
        """A key for a stream that is fetched from another worker."""
        return next(self._numbers)

    def arrived(self, guest: G, key: int, slot: int) -> None:
        """It has come under that key, and with its slot."""
        self._keys[guest], self._guests_by_key[key] = key, guest
        self._settle(guest, slot)

    def hand_over(self, guest: G, wanted: int, luggage: bytes) -> None:
        """The stream and its slot are another worker's."""
        super().free(guest)
        key = self._forget(guest)
        self._tell(HandedOver(wanted, -1 if key is None else key, luggage))

    def _name(self, guest: G) -> int:
        key = self._keys[guest] = next(self._numbers)
        self._guests_by_key[key] = guest
        return key

    def _forget(self, guest: G) -> int | None:
        key = self._keys.pop(guest, None)
        if key is not None:
            del self._guests_by_key[key]
        return key

    def _tell_parked(self, guest: G) -> None:
        if guest in self._keys:
            self._tell(Parked(self._keys[guest], guest.parked))
