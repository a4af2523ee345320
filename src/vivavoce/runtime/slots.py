"""Which stream has which slot, and by which number the engine knows it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

from prometheus_client import Gauge

from vivavoce.core import Fault, StreamError

from .engine_process import EngineProcess
from .lane import Lane

RETRY_AFTER = 5.0  # seconds, for whoever found every slot taken


class Slots:
    """The slots of one engine after the other: who holds one keeps it when the engine is replaced.

    Numbers are never used again: what an engine says of a stream that has left, or of its time before, means nobody.
    """

    def __init__(self, count: int, gauge: Gauge) -> None:
        self.count = count
        self._gauge = gauge  # of slots taken; other modules count in it too
        self._free = set(range(count))
        self._holders = dict[int, Lane]()  # by slot
        self._lanes = dict[int, Lane]()  # by number
        self._numbers = itertools.count(1)
        self._engine: EngineProcess | None = None

    @property
    def used(self) -> int:
        return len(self._holders)

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """By the number that the present engine knows them by."""
        return self._lanes

    def must_have_one(self) -> None:
        """Raises StreamError(CAPACITY) when every slot is taken by a stream whose caller is there."""
        if not self._free and self._parked_longest() is None:
            raise StreamError(Fault.CAPACITY, f"every slot is taken ({self.count} of {self.count})", RETRY_AFTER)

    def take(self, lane: Lane) -> None:
        """A free slot for the stream, perhaps that of the one that has been parked for longest; StreamError(CAPACITY).

        It begins, or goes on, in the engine, or in the next one.
        """
        self.must_have_one()
        parked = self._parked_longest()
        if not self._free and parked:
            self.free(parked)
        slot = min(self._free)
        self._free.remove(slot)
        self._holders[slot] = lane
        self._gauge.inc()
        lane.slot = slot
        self._enter(lane)

    def free(self, lane: Lane) -> None:
        """The stream's slot is for others, if it has one."""
        if lane.number is not None:
            del self._lanes[lane.number]
        if lane.slot is not None:
            del self._holders[lane.slot]
            self._free.add(lane.slot)
            self._gauge.dec()
        lane.leave()

    def move(self, engine: EngineProcess | None) -> None:
        """Every stream into this engine, or, for want of one, into none until the next comes."""
        self._engine = engine
        self._lanes.clear()
        for lane in self._holders.values():
            lane.engine_lost()
        self._enter_next()

    def _enter_next(self) -> None:
        """One stream in each turn of the event loop: a snapshot may have megabytes, and there may be hundreds."""
        lane = next((lane for lane in self._holders.values() if lane.number is None), None)
        if lane and self._engine:
            self._enter(lane)
            asyncio.get_running_loop().call_soon(self._enter_next)

    def _enter(self, lane: Lane) -> None:
        if self._engine:
            assert lane.slot is not None, "a stream without a slot enters an engine"
            number = next(self._numbers)
            self._lanes[number] = lane
            lane.enter(self._engine, number, lane.slot)

    def _parked_longest(self) -> Lane | None:
        parked = (lane for lane in self._holders.values() if lane.parked)
        return min(parked, key=lambda lane: lane.patience.left, default=None)
