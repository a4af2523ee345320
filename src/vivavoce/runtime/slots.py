"""Which stream has which slot, and by which number the engine knows it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from prometheus_client import Gauge

from vivavoce.core import Fault, StreamError

from .guest import Guest
from .seam import Engine
from .trial import Trial

G = TypeVar("G", bound=Guest[Any])
RETRY_AFTER = 5.0  # seconds, for whoever found every slot taken


class Slots(Generic[G]):
    """The slots of one engine after the other: who holds one keeps it when the engine is replaced.

    Numbers are never used again: what an engine says of a stream that has left, or of its time before, means nobody.
    """

    def __init__(self, count: int, gauge: Gauge, first: int = 1) -> None:
        self.count = count
        self._gauge = gauge  # of slots taken; other modules of its kind count in it too
        self._free = set(range(count))
        self._holders = dict[int, G]()  # by slot
        self._guests = dict[int, G]()  # by number
        self._numbers = itertools.count(first)
        self._engine: Engine | None = None
        self._trial = Trial[G]()

    @property
    def used(self) -> int:
        return len(self._holders)

    @property
    def guests(self) -> Mapping[int, G]:
        """By the number that the present engine knows them by."""
        return self._guests

    def must_have_one(self) -> None:
        """Raises StreamError(CAPACITY) when every slot is taken by a stream whose caller is there."""
        if not self._free and self._parked_longest() is None:
            raise StreamError(Fault.CAPACITY, f"every slot is taken ({self.count} of {self.count})", RETRY_AFTER)

    def take(self, guest: G) -> None:
        """A free slot for the stream, perhaps that of the one that has been parked for longest; StreamError(CAPACITY).

        It begins, or goes on, in the engine, or in the next one.
        """
        self.must_have_one()
        parked = self._parked_longest()
        if not self._free and parked:
            self.free(parked)
        self._settle(guest, min(self._free))

    def has(self, guest: G) -> bool:
        """Whether the stream has a slot, or has asked for one."""
        return guest.slot is not None

    def park(self, guest: G) -> None:
        """Its caller has gone: others may have the slot."""
        guest.parked = True

    def unpark(self, guest: G) -> None:
        """Its caller has come back."""
        guest.parked = False

    def begin_again(self, guest: G) -> None:
        """Out of the engine, if it is in one, and into it as a new stream in the same slot."""
        if guest.number is not None:
            del self._guests[guest.number]
            guest.step_out()
            self._enter(guest)

    def free(self, guest: G) -> None:
        """The stream's slot is for others, if it has one."""
        if guest.number is not None:
            del self._guests[guest.number]
        if guest.slot is not None:
            del self._holders[guest.slot]
            self._free.add(guest.slot)
            self._gauge.dec()
        guest.leave()
        self._trial.dismiss(guest)
        self.enter_next()

    def move(self, engine: Engine | None) -> None:
        """Every stream into this engine, or, for want of one, into none until the next comes."""
        self._engine = engine
        self._guests.clear()
        self._trial.adjourn()
        for guest in self._holders.values():
            guest.engine_lost()
        self.enter_next()

    def lost(self) -> G | None:
        """The engine has ended, and the streams wait for the next one. Returns the one whose work it died of, if it is
        known; where it may have been anyone's, they are tried one by one."""
        engine, culprit = self._engine, None
        if engine and engine.at_fault:
            if self._trial.tried:
                culprit = self._trial.convicted(engine.stalled)
            else:
                self._trial.accuse((guest, engine.owes(number)) for number, guest in self._guests.items())
        self.move(None)
        return culprit

    @property
    def suspects(self) -> bool:
        """Whether streams have to be alone with the next engine first."""
        return self._trial.goes_on

    def proceed(self) -> None:
        """The engine has said something: whoever is tried may have stood it, and makes room for the next."""
        guest = self._trial.tried
        if guest and self._engine and self._trial.has_stood(self._engine):
            assert guest.number is not None, "who is tried has a number"
            del self._guests[guest.number]
            guest.step_out()
            self._trial.dismiss(guest)
            self.enter_next()

    def enter_next(self) -> None:
        """One stream in each turn of the event loop: a snapshot may have megabytes, and there may be hundreds."""
        if not self._engine or self._trial.tried:
            return
        guest = self._trial.call()
        if guest is None and not self._engine.for_all:
            self._engine.trial_over()
            return
        waiting = (guest for guest in self._holders.values() if guest.number is None)
        if guest := guest or next(waiting, None):
            self._enter(guest)
            asyncio.get_running_loop().call_soon(self.proceed if self._trial.tried else self.enter_next)

    def _settle(self, guest: G, slot: int) -> None:
        self._free.remove(slot)
        self._holders[slot] = guest
        self._gauge.inc()
        guest.slot = slot
        if not self._trial.goes_on and self._engine and self._engine.for_all:
            self._enter(guest)

    def _enter(self, guest: G) -> None:
        if self._engine:
            assert guest.slot is not None, "a stream without a slot enters an engine"
            number = next(self._numbers)
            self._guests[number] = guest
            guest.enter(self._engine, number, guest.slot)

    def _parked_longest(self) -> G | None:
        parked = (guest for guest in self._holders.values() if guest.parked)
        return min(parked, key=lambda guest: guest.patience.left, default=None)
