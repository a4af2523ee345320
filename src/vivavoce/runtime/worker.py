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
    from vivavoce.engine import StepOutput, SttEngine

log = logging.getLogger("vivavoce.engine")
BEHIND = 4  # frames that wait; fewer are as quick in the steps that others take anyway
FEW = 3  # streams; more of them that are behind are as quick together
Samples = NDArray[np.float32]


@dataclass(slots=True)
class _Served:
    """A stream that has a slot."""

    slot: int
    temperature: float
    seed: int
    frames: deque[tuple[Samples, bool]] = field(default_factory=deque)  # and whether it is heard afresh

    @property
    def of_one_context(self) -> int:
        """How many frames come before the next that is heard afresh."""
        afresh = (i for i, (_, afresh) in enumerate(self.frames) if afresh and i)
        return next(afresh, len(self.frames))


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
        """One frame of every stream whose turn it is; of a few that are far behind, all frames that they are owed."""
        chosen = self._schedule.choose(monotonic())
        late, count = self._late(chosen)
        if on_time := [stream for stream in chosen if stream not in late]:
            self._advance(on_time, 1)
        if late:
            for stream in late:
                self._schedule.claim(stream, count - 1)  # the first was claimed by `choose`
            self._advance(late, count)

    def _late(self, chosen: list[int]) -> tuple[list[int], int]:
        """The streams that are better stepped apart, and how many frames at once."""
        owed = {stream: 1 + self._schedule.owed(stream) for stream in chosen}
        late = [stream for stream, count in owed.items() if count >= BEHIND]
        if not 1 <= len(late) <= FEW:
            return [], 1
        count = min(
            self._engine.TOGETHER, *(min(owed[stream], self._streams[stream].of_one_context) for stream in late)
        )
        return (late, count) if count >= BEHIND else ([], 1)

    def _advance(self, streams: list[int], count: int) -> None:
        """So many frames of each of these streams, and their results to the parent."""
        frames, starts = dict[int, Samples](), dict[int, int]()
        for stream in streams:
            served = self._streams[stream]
            samples, afresh = zip(*(served.frames.popleft() for _ in range(count)), strict=True)
            frames[served.slot] = np.stack(samples)
            if afresh[0]:
                self._engine.close(served.slot)
                starts[stream] = self._engine.open(served.slot, temperature=served.temperature, seed=served.seed)
        begun = perf_counter()
        outputs = self._engine.catch_up(frames) if count > 1 else self._step(frames)
        taken = perf_counter() - begun
        if count == 1:
            self._cost.learn(len(streams), taken)
        results = list[Result]()
        for stream in streams:
            for i, output in enumerate(outputs[self._streams[stream].slot]):
                start = None if i else starts.get(stream)
                results.append(Result(stream, output.token, output.logprob, output.vad, output.codes, start))
        self._link.send([Stepped(results, taken, count)])

    def _step(self, frames: dict[int, Samples]) -> dict[int, list[StepOutput]]:
        outputs = self._engine.step({slot: samples[0] for slot, samples in frames.items()})
        return {slot: [output] for slot, output in outputs.items()}

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
