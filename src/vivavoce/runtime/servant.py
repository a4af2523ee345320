"""What an engine's process does for its parent, whatever its engine is for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import monotonic
from typing import Generic, Protocol, TypeVar

from .cost import StepCost
from .link import Audio, Link
from .messages import Close, Malformed, Opened, ToEngine
from .schedule import BURST, Schedule


class Engine(Protocol):
    """Slots."""

    slots: int

    def close(self, slot: int) -> None: ...


class Served(Protocol):
    """A stream that has a slot."""

    slot: int


S = TypeVar("S", bound=Served)


class NonsenseError(Exception):
    """A message that cannot be obeyed."""


class Servant(ABC, Generic[S]):
    """Steps the streams that its parent opens, for as long as the process lives."""

    def __init__(self, engine: Engine, link: Link, steps: Sequence[tuple[int, float]], burst: float = BURST) -> None:
        self._slots, self._free, self._link = engine.slots, engine.close, link
        self._cost = StepCost()
        for batch, seconds in steps:
            self._cost.learn(batch, seconds)
        self._schedule = Schedule(self._cost, burst)
        self._streams = dict[int, S]()

    def run(self) -> None:
        """Sleep until a message comes or a step may be made; never ends."""
        while True:
            for message, audio in self._link.receive(self._wait()):
                self.obey(message, audio)
            self.step()

    def obey(self, message: ToEngine, audio: Audio) -> None:
        """Do what one message says; audio is float32 [n, 1920]. One that makes no sense is told and changes nothing."""
        try:
            if isinstance(message, Close):
                self._close(message.stream)
            else:
                self._obey(message, audio)
        except NonsenseError as error:
            self._link.send([Malformed(f"{type(message).__name__}: {error}")])

    def _wait(self) -> float | None:
        """Seconds after which there is something to do though no message comes."""
        return self._schedule.wait(monotonic())

    @abstractmethod
    def step(self) -> None:
        """One step of every stream whose turn it is."""

    @abstractmethod
    def _obey(self, message: ToEngine, audio: Audio) -> None:
        """Do what a message of this kind of engine says. Raises NonsenseError."""

    def _must_be_free(self, stream: int, slot: int) -> None:
        if not 0 <= slot < self._slots:
            raise NonsenseError(f"slot {slot} does not exist: there are {self._slots}")
        if stream in self._streams or any(served.slot == slot for served in self._streams.values()):
            raise NonsenseError(f"stream {stream} or slot {slot} is open already")

    def _admit(self, stream: int, served: S, token: int | None = None) -> None:
        self._streams[stream] = served
        self._schedule.open(stream, monotonic())
        self._link.send([Opened(stream, token)])

    def _close(self, stream: int) -> None:
        served = self._streams.pop(stream, None)
        if served:
            self._free(served.slot)
            self._schedule.close(stream)
