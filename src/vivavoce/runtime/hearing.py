"""How an engine's process serves speech to text."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import StreamError

from . import messages
from .late import Late
from .link import Audio, Link
from .messages import Frames, Lost, Open, Restore, Stepped, ToEngine
from .servant import NonsenseError, Servant

if TYPE_CHECKING:
    from vivavoce.engine import NullEngine, StepOutput, SttEngine

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


class Hearing(Servant[_Served]):
    """Audio in, text out: a step of each stream that has a frame."""

    def __init__(self, engine: SttEngine | NullEngine, link: Link, steps: Sequence[tuple[int, float]]) -> None:
        super().__init__(engine, link, steps)
        self._engine = engine
        self._late = Late(engine.TOGETHER, self._cost, steps)

    def step(self) -> None:
        """One frame of every stream whose turn it is; of a few that are far behind, many frames that they are owed."""
        chosen = self._schedule.choose(now := monotonic())
        if not chosen:
            return
        owed = {stream: min(1 + self._schedule.owed(stream), self._streams[stream].of_one_context) for stream in chosen}
        late, count = self._late.choose(owed, live=self._schedule.owes_others(chosen, now))
        if on_time := [stream for stream in chosen if stream not in late]:
            self._advance(on_time, 1)
        if late:
            for stream in late:
                self._schedule.claim(stream, count - 1)  # the first was claimed by `choose`
            self._advance(late, count)

    def _advance(self, streams: list[int], count: int) -> None:
        """So many frames of each of these streams, and their results to the parent."""
        frames, starts = dict[int, Samples](), dict[int, int]()
        for stream in streams:
            served = self._streams[stream]
            samples, afresh = zip(*(served.frames.popleft() for _ in range(count)), strict=True)
            frames[served.slot] = np.stack(samples) if count > 1 else samples[0][None]
            if afresh[0]:
                self._engine.close(served.slot)
                starts[stream] = self._engine.open(served.slot, temperature=served.temperature, seed=served.seed)
        begun = perf_counter()
        outputs = self._engine.catch_up(frames) if count > 1 else self._step(frames)
        taken = perf_counter() - begun
        if count == 1:
            self._cost.learn(len(streams), taken)
        self._late.learn(len(streams) * count, taken)
        rows = [output for stream in streams for output in outputs[self._streams[stream].slot]]
        tokens, logprobs = [row.token for row in rows], [row.logprob for row in rows]
        vad, codes = np.array([row.vad for row in rows], np.float64), np.array([row.codes for row in rows], np.int32)
        self._link.send([Stepped(streams, count, tokens, logprobs, vad.tobytes(), codes.tobytes(), starts, taken)])

    def _step(self, frames: dict[int, Samples]) -> dict[int, list[StepOutput]]:
        outputs = self._engine.step({slot: samples[0] for slot, samples in frames.items()})
        return {slot: [output] for slot, output in outputs.items()}

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
            token = self._engine.open(message.slot, temperature=message.temperature, seed=message.seed)
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
        self._admit(message.stream, _Served(message.slot, message.temperature, message.seed), token)

    def _frames(self, message: Frames, audio: Audio) -> None:
        for place, (stream, samples) in enumerate(zip(message.streams, audio, strict=True)):
            if served := self._streams.get(stream):  # else of one that was lost; the parent did not know yet
                served.frames.append((samples, place in message.afresh))
                self._schedule.frame(stream)
