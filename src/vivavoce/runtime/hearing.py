"""How an engine's process serves speech to text."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import StreamError
from vivavoce.engine.outputs import Outputs
from vivavoce.engine.terms import Term

from . import messages
from .late import Late
from .link import Audio, Link
from .messages import Frames, Lost, Open, Restore, Stepped, ToEngine
from .servant import NonsenseError, Servant

if TYPE_CHECKING:
    from vivavoce.engine import NullEngine, SttEngine
    from vivavoce.engine.outputs import Begun

Samples = NDArray[np.float32]
GLANCE = 0.001  # seconds: a device and a socket cannot be slept on together


@dataclass(slots=True)
class _Served:
    """A stream that has a slot."""

    slot: int
    temperature: float
    seed: int
    terms: tuple[Term, ...]
    frames: deque[tuple[Samples, bool]] = field(default_factory=deque)  # and whether it is heard afresh

    @property
    def of_one_context(self) -> int:
        """How many frames come before the next that is heard afresh."""
        afresh = (i for i, (_, afresh) in enumerate(self.frames) if afresh and i)
        return next(afresh, len(self.frames))


@dataclass(slots=True)
class _Running:
    """A step that was begun and not told."""

    streams: list[int]
    starts: dict[int, int]
    begun: float
    step: Begun


class Hearing(Servant[_Served]):
    """Audio in, text out: a step of each stream that has a frame.

    A step may be on its way on a device while messages are taken. The next begins when it is over, with every frame
    that has come by then, and before its results are told: the device then has work, and no frame waits for two steps.
    """

    def __init__(self, engine: SttEngine | NullEngine, link: Link, steps: Sequence[tuple[int, float]]) -> None:
        super().__init__(engine, link, steps)
        self._engine = engine
        self._late = Late(engine.TOGETHER, self._cost, steps)
        self._running: _Running | None = None

    def step(self) -> None:
        """One frame of every stream whose turn it is; of a few that are far behind, many frames that they are owed."""
        if self._running and not self._running.step.done:
            return
        over, self._running = self._running, None
        taken = perf_counter() - over.begun if over else 0.0
        late, count = self._begin_next()
        if over:
            self._tell(over, taken)
        if late and self._running:  # both take the device: one after the other, so that the time of each is known
            self._tell(self._running)
            self._running = None
        if late:
            self._catch_up(late, count)
        if self._running and self._running.step.done:
            self._tell(self._running)
            self._running = None

    def _wait(self) -> float | None:
        return GLANCE if self._running else super()._wait()

    def _begin_next(self) -> tuple[list[int], int]:
        """Begin a step of those whose turn it is; gives who is to catch up, and by how many frames."""
        chosen = self._schedule.choose(now := monotonic())
        if not chosen:
            return [], 1
        owed = {stream: self._owed(stream) for stream in chosen}
        late, count = self._late.choose(owed, live=self._schedule.owes_others(chosen, now))
        if on_time := [stream for stream in chosen if stream not in late]:
            self._begin(on_time)
        for stream in late:
            self._schedule.claim(stream, count - 1)  # the first was claimed by `choose`
        return late, count

    def _owed(self, stream: int) -> int:
        """Frames of one that was chosen that may be stepped now."""
        served = self._streams[stream]
        return 1 if len(served.frames) == 1 else min(1 + self._schedule.owed(stream), served.of_one_context)

    def _begin(self, streams: list[int]) -> None:
        """One frame of each of these streams."""
        streams.sort(key=lambda stream: self._streams[stream].slot)
        frames, starts = dict[int, Samples](), dict[int, int]()
        for stream in streams:
            served = self._streams[stream]
            frames[served.slot], afresh = served.frames.popleft()
            if afresh:
                starts[stream] = self._begin_anew(served)
        begun = perf_counter()
        self._running = _Running(streams, starts, begun, self._engine.begin(frames))

    def _tell(self, running: _Running, taken: float | None = None) -> None:
        """The results of a step, for which is waited; it took so many seconds, as long as until now if None."""
        outputs = running.step.outputs()
        taken = perf_counter() - running.begun if taken is None else taken
        self._cost.learn(len(running.streams), taken)
        self._send(running.streams, 1, outputs, running.starts, taken)

    def _catch_up(self, streams: list[int], count: int) -> None:
        """So many frames of each of these streams, and their results to the parent."""
        frames, starts = dict[int, Samples](), dict[int, int]()
        for stream in streams:
            served = self._streams[stream]
            samples, afresh = zip(*(served.frames.popleft() for _ in range(count)), strict=True)
            frames[served.slot] = np.stack(samples)
            if afresh[0]:
                starts[stream] = self._begin_anew(served)
        begun = perf_counter()
        told = self._engine.catch_up(frames)
        taken = perf_counter() - begun
        slots = [self._streams[stream].slot for stream in streams]
        self._send(streams, count, Outputs.of(slots, [row for slot in slots for row in told[slot]]), starts, taken)

    def _begin_anew(self, served: _Served) -> int:
        self._engine.close(served.slot)
        how: dict[str, Any] = {"temperature": served.temperature, "seed": served.seed, "terms": served.terms}
        return self._engine.open(served.slot, **how)

    def _send(self, streams: list[int], count: int, rows: Outputs, starts: dict[int, int], taken: float) -> None:
        self._late.learn(len(streams) * count, taken)
        vad, codes = rows.vad.astype(np.float64).tobytes(), rows.codes.astype(np.int32).tobytes()
        told = Stepped(streams, count, rows.token.tolist(), rows.logprob.tolist(), vad, codes, starts, taken)
        self._link.send([told])

    def _obey(self, message: ToEngine, audio: Audio) -> None:
        match message:
            case Open():
                self._open(message)
            case Restore():
                self._restore(message)
            case Frames():
                self._frames(message, audio)
            case _:
                raise NonsenseError("this engine hears, and its model is loaded")

    def _open(self, message: Open) -> None:
        self._must_be_free(message.stream, message.slot)
        try:
            how: dict[str, Any] = {"temperature": message.temperature, "seed": message.seed, "terms": message.terms}
            token = self._engine.open(message.slot, **how)
        except StreamError as refused:  # its memory is full
            self._link.send([Lost(message.stream, str(refused), refused.fault.name)])
        else:
            self._admit_as(message, token)

    def _restore(self, message: Restore) -> None:
        self._must_be_free(message.stream, message.slot)
        try:
            self._engine.restore(message.slot, messages.snapshot(message, self._engine.n_q))
        except ValueError as error:  # another model's: the stream cannot go on here
            self._link.send([Lost(message.stream, str(error))])
        except StreamError as refused:
            self._link.send([Lost(message.stream, str(refused), refused.fault.name)])
        else:
            self._admit_as(message, None)

    def _admit_as(self, message: Open | Restore, token: int | None) -> None:
        self._admit(message.stream, _Served(message.slot, message.temperature, message.seed, message.terms), token)

    def _frames(self, message: Frames, audio: Audio) -> None:
        for place, (stream, samples) in enumerate(zip(message.streams, audio, strict=True)):
            if served := self._streams.get(stream):  # else of one that was lost; the parent did not know yet
                served.frames.append((samples, place in message.afresh))
                self._schedule.frame(stream)
