"""A worker's end of the line to the main process: the engine that it shares with the other workers."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import ExitCode

from .line import Line
from .message import Info, Message
from .messages import FromEngine, ToEngine
from .shared_messages import (
    Adopt,
    Broken,
    Denied,
    Evict,
    ForAll,
    Given,
    Gone,
    HandOver,
    Luggage,
    Occupied,
    Stall,
    TrialOver,
    Verdict,
    decode_to_worker,
)
from .watchdog import Watchdog

log = logging.getLogger("vivavoce.runtime")
_NUMBERS = 1 << 32  # of streams and slots, for each process that ever was a worker


class DistantEngine:
    """The engine as long as it lives."""

    def __init__(self, tell: Callable[[Message], None], line: Line, stall_seconds: float, for_all: bool) -> None:
        self.for_all = for_all
        self.stalled = self.at_fault = False
        self._tell, self._line = tell, line
        self.watchdog = Watchdog(stall_seconds, lambda seconds: tell(Stall(seconds)))

    def send(self, message: ToEngine) -> None:
        """As `Line.send`."""
        self._line.send(message)
        self.watchdog.sent(message)

    def send_frame(self, stream: int, samples: NDArray[np.float32], afresh: bool) -> None:
        """As `Line.send_frame`."""
        self._line.send_frame(stream, samples, afresh)
        self.watchdog.expect(stream)

    def owes(self, stream: int) -> int:
        """Answers that have not come."""
        return self.watchdog.due(stream)

    def trial_over(self) -> None:
        """Nobody here has to be tried any more."""
        self._tell(TrialOver())


@dataclass(frozen=True)
class Share:
    """What makes a runtime one of a worker's."""

    line: Line
    first: int  # of the numbers that are this process's alone


class Sharer(Protocol):
    """Whose streams these are."""

    restarts: int

    def adopt(self, info: Info, steps: list[tuple[int, float]]) -> None: ...

    def lose_engine(self) -> tuple[bool, bool]:
        """Whether it is known of what the engine died, and whether some are suspected."""

    def engine_broken(self, reason: str, exit_code: ExitCode) -> None: ...

    def hear(self, message: FromEngine) -> None: ...

    def hear_main(self, message: Message) -> None:
        """Of slots, and of streams that move."""


class DistantSupervisor:
    """Stands where a server of one process has its `Supervisor`; the real one is the main process's."""

    def __init__(self, line: Line, stall_seconds: float, crew: Sharer) -> None:
        self.pid: int | None = None
        self.engine: DistantEngine | None = None
        self._line, self._stall_seconds, self._crew = line, stall_seconds, crew

    def begin(self) -> None:
        """Hears what the main process says, and has said."""
        self._line.listen(self._hear)

    async def stop(self) -> None:
        """Nothing is heard any more."""
        if self.engine:
            self.engine.watchdog.stop()
        self.engine = None
        self._line.hear = lambda _: None
        self._line.close()

    def _hear(self, message: Message) -> None:
        match message:
            case Adopt(ready, for_all, restarts):
                self.pid, self._crew.restarts = ready.info.pid, restarts
                self.engine = DistantEngine(self._line.send, self._line, self._stall_seconds, for_all)
                self._crew.adopt(ready.info, ready.steps)
            case ForAll():
                assert self.engine, "nobody is tried without an engine"
                self.engine.for_all = True
                self._crew.hear_main(message)
            case Gone(at_fault, stalled):
                self._gone(at_fault, stalled)
            case Broken(reason, exit_code):
                self._crew.engine_broken(reason, ExitCode(exit_code))
            case Given() | Denied() | Evict() | HandOver() | Luggage() | Occupied():
                self._crew.hear_main(message)
            case _ if self.engine:
                self.engine.watchdog.heard(message)  # type: ignore[arg-type]
                self._crew.hear(message)  # type: ignore[arg-type]

    def _gone(self, at_fault: bool, stalled: bool) -> None:
        assert self.engine, "an engine ends once"
        engine, self.engine = self.engine, None
        engine.watchdog.stop()
        engine.at_fault, engine.stalled = at_fault, stalled
        self._line.send(Verdict(*self._crew.lose_engine()))


async def share_of(connection: socket.socket, process: int) -> Share:
    """Over a socket that the main process has made (`Hub.connect`); no two processes that it begins have one number."""
    line = Line(decode_to_worker)
    await asyncio.get_running_loop().create_unix_connection(lambda: line, sock=connection)
    return Share(line, process * _NUMBERS)
