"""Who has which slot of an engine that workers share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from .port import Port
from .shared_messages import Denied, Evict, Given, Occupied


class SlotBook:
    """Gives slots in the order in which they are asked for; when there is none, that of the stream which has been
    parked for longest, and when nobody is parked either, none."""

    def __init__(self, slots: int, ports: Sequence[Port]) -> None:
        self._ports = ports
        self._free = set(range(slots))
        self._waiting = deque[tuple[Port, int]]()
        self._parked = dict[tuple[Port, int], bool]()  # the longest first; whether its slot has been asked back
        self._telling = False

    def hold(self, port: Port, key: int) -> None:
        """A stream needs a slot."""
        port.slots[key] = None
        self._waiting.append((port, key))
        self._serve()

    def give_back(self, port: Port, key: int) -> None:
        """It needs none any more."""
        slot = port.slots.pop(key, None)
        self._parked.pop((port, key), None)
        if (port, key) in self._waiting:
            self._waiting.remove((port, key))
        self.is_free(slot)

    def park(self, port: Port, key: int, parked: bool) -> None:
        """Others may have its slot, or may not any more."""
        if not parked:
            self._parked.pop((port, key), None)
        elif key in port.slots:
            self._parked[port, key] = False
        self._serve()

    def moved(self, port: Port, key: int) -> None:
        """The stream, with its slot, is another worker's."""
        self._parked.pop((port, key), None)
        self._serve()

    def is_free(self, slot: int | None) -> None:
        """Nobody has this slot."""
        if slot is not None:
            self._free.add(slot)
        self._serve()

    def tell(self) -> None:
        """Each worker, soon, what the others have."""
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _serve(self) -> None:
        while self._waiting and self._free:
            port, key = self._waiting.popleft()
            slot = port.slots[key] = min(self._free)
            self._free.remove(slot)
            port.send(Given(key, slot))
        lacking = len(self._waiting) - sum(self._parked.values())
        for (owner, key), asked in list(self._parked.items()):
            if lacking > 0 and not asked:
                self._parked[owner, key] = True
                owner.send(Evict(key))
                lacking -= 1
        for _ in range(lacking):
            port, key = self._waiting.pop()
            del port.slots[key]
            port.send(Denied(key))
        self.tell()

    def _tell(self) -> None:
        self._telling = False
        used = sum(port.used for port in self._ports)
        for port in self._ports:
            parked = sum(owner is not port for owner, _ in self._parked)
            port.send(Occupied(used - port.used, parked))
