"""The engine's process: `python -m vivavoce.runtime.worker ADDRESS`. The only part of the runtime that imports torch.

It obeys its parent alone: it ends when the parent closes its standard input or dies, and ignores SIGINT and SIGTERM.
A step that raises ends it; the parent begins another and gives it every stream's snapshot.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_SIZE, ExitCode, VivavoceError

from . import messages
from .cost import StepCost
from .link import Link
from .messages import Close, Failed, Frame, Load, Lost, Malformed, Open, Opened, Ready, Restore, Result, Stepped
from .orphan import end_with_parent
from .schedule import Schedule

if TYPE_CHECKING:
    from vivavoce.engine import SttEngine

log = logging.getLogger("vivavoce.engine")
Samples = NDArray[np.float32]


@dataclass(slots=True)
class _Served:
    """A stream that has a slot."""

    slot: int
    temperature: float
    seed: int
    frames: deque[tuple[Samples, bool]] = field(default_factory=deque)  # and whether it is heard afresh


class _NonsenseError(Exception):
    """A message that cannot be obeyed."""


class Worker:
    """Steps the streams that its parent opens, for as long as the process lives."""

    def __init__(self, engine: SttEngine, link: Link, steps: Sequence[tuple[int, float]]) -> None:
        self._engine, self._link, self._cost = engine, link, StepCost()
        for batch, seconds in steps:
            self._cost.learn(batch, seconds)
        self._schedule = Schedule(self._cost)
        self._streams = dict[int, _Served]()

    def run(self) -> None:
        """Sleep until a message comes or a frame may be stepped; never ends."""
        while True:
            for message in self._link.receive(self._schedule.wait(monotonic())):
                self.obey(message)
            self.step()

    def obey(self, message: messages.ToEngine) -> None:
        """Do what one message says. One that makes no sense is told and changes nothing."""
        try:
            match message:
                case Open():
                    self._open(message)
                case Restore():
                    self._restore(message)
                case Frame():
                    self._frame(message)
                case Close():
                    self._close(message.stream)
                case Load():
                    raise _NonsenseError("the model is loaded already")
        except _NonsenseError as error:
            self._link.send([Malformed(f"{type(message).__name__}: {error}")])

    def step(self) -> None:
        """One frame of every stream whose turn it is."""
        chosen = {stream: self._streams[stream] for stream in self._schedule.choose(monotonic())}
        if not chosen:
            return
        frames, starts = dict[int, Samples](), dict[int, int]()
        for stream, served in chosen.items():
            frames[served.slot], afresh = served.frames.popleft()
            if afresh:
                self._engine.close(served.slot)
                starts[stream] = self._engine.open(served.slot, temperature=served.temperature, seed=served.seed)
        begun = perf_counter()
        outputs = self._engine.step(frames)
        taken = perf_counter() - begun
        self._cost.learn(len(chosen), taken)
        results = list[Result]()
        for stream, served in chosen.items():
            output = outputs[served.slot]
            results.append(Result(stream, output.token, output.logprob, output.vad, output.codes, starts.get(stream)))
        self._link.send([Stepped(results, taken)])

    def _open(self, message: Open) -> None:
        self._must_be_free(message.stream, message.slot)
        token = self._engine.open(message.slot, temperature=message.temperature, seed=message.seed)
        self._admit(message, token)

    def _restore(self, message: Restore) -> None:
        self._must_be_free(message.stream, message.slot)
        try:
            self._engine.restore(message.slot, messages.snapshot(message, self._engine.lm.config.n_q))
        except ValueError as error:  # another model's: the stream cannot go on here
            self._link.send([Lost(message.stream, str(error))])
        else:
            self._admit(message, None)

    def _must_be_free(self, stream: int, slot: int) -> None:
        if not 0 <= slot < self._engine.slots:
            raise _NonsenseError(f"slot {slot} does not exist: there are {self._engine.slots}")
        if stream in self._streams or any(served.slot == slot for served in self._streams.values()):
            raise _NonsenseError(f"stream {stream} or slot {slot} is open already")

    def _admit(self, message: Open | Restore, token: int | None) -> None:
        self._streams[message.stream] = _Served(message.slot, message.temperature, message.seed)
        self._schedule.open(message.stream, monotonic())
        self._link.send([Opened(message.stream, token)])

    def _frame(self, message: Frame) -> None:
        if message.stream not in self._streams:
            return  # of a stream that was lost; the parent did not know yet
        if len(message.samples) != 4 * FRAME_SIZE:
            raise _NonsenseError(f"a frame has {4 * FRAME_SIZE} bytes, got {len(message.samples)}")
        samples = np.frombuffer(message.samples, np.float32)
        self._streams[message.stream].frames.append((samples, message.afresh))
        self._schedule.frame(message.stream)

    def _close(self, stream: int) -> None:
        served = self._streams.pop(stream, None)
        if served:
            self._engine.close(served.slot)
            self._schedule.close(stream)


def main() -> None:
    """Load what the first message says, tell whether that went well, then serve."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    faulthandler.enable()
    end_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    logging.captureWarnings(True)
    link = Link(sys.argv[1])
    (first,) = link.receive(None)
    assert isinstance(first, Load), f"the first message must be Load, got {type(first).__name__}"
    try:
        from .loading import load

        engine, info, steps = load(first.spec)
    except Exception as error:
        if not isinstance(error, VivavoceError):  # whose one line is made for users
            log.exception("The model cannot be loaded")
        lines = str(error).splitlines() or [type(error).__name__]
        link.send([Failed(lines[0], error.exit_code if isinstance(error, VivavoceError) else ExitCode.FAILURE)])
        link.close()
        sys.exit(1)
    link.send([Ready(info, steps)])
    try:
        Worker(engine, link, steps).run()
    except Exception:
        log.exception("The engine failed; the process ends")
        os._exit(1)  # at once: neither sockets nor devices may hold up the next one


if __name__ == "__main__":
    main()
