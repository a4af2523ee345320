"""How an engine's process serves text to speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

import numpy as np

from vivavoce.core import Fault, UnknownVoiceError
from vivavoce.engine.tts_snapshot import TtsOptions
from vivavoce.session import ScriptMachine

from . import speech_messages as messages
from .link import Audio, Link
from .messages import Lost, ToEngine
from .schedule import BURST
from .servant import NonsenseError, Servant
from .speech_messages import GoOn, Grant, Said, Speak, Spoke, Text

if TYPE_CHECKING:
    from vivavoce.engine.tts import TtsEngine, TtsOutput

    from .cast import Cast


@dataclass(slots=True)
class _Served:
    """A stream that has a slot."""

    slot: int
    options: TtsOptions
    epoch: int
    machine: ScriptMachine

    @property
    def ready(self) -> bool:
        return self.machine.ready and not self.machine.finished


class Speaking(Servant[_Served]):
    """Text in, audio out: a step of each stream that has a grant and knows its next words."""

    def __init__(self, engine: TtsEngine, cast: Cast, link: Link, steps: Sequence[tuple[int, float]]) -> None:
        super().__init__(engine, link, steps, BURST + engine.first_audio_step)  # two seconds of audio
        self._engine, self._cast = engine, cast

    def step(self) -> None:
        chosen = {stream: self._streams[stream] for stream in self._schedule.choose(monotonic())}
        if not chosen:
            return
        ready = {stream: served for stream, served in chosen.items() if served.ready}
        begun = perf_counter()
        outputs = self._engine.step({served.slot: served.machine.act for served in ready.values()})
        taken = perf_counter() - begun
        if ready and all(output.audio is not None for output in outputs.values()):  # others cost less
            self._cost.learn(len(ready), taken)
        results = [_said(stream, served, outputs[served.slot]) for stream, served in ready.items()]
        self._link.send([Spoke(results, [stream for stream in chosen if stream not in ready], taken)])

    def _obey(self, message: ToEngine, audio: Audio) -> None:  # noqa: ARG002
        match message:
            case Speak() | GoOn():
                self._open(message)
            case Text():
                self._text(message)
            case Grant(stream):
                if stream in self._streams:  # else of a stream that was lost; the parent did not know yet
                    self._schedule.frame(stream)
            case _:
                raise NonsenseError("this engine speaks")

    def _open(self, message: Speak | GoOn) -> None:
        self._must_be_free(message.stream, message.slot)
        try:
            options = self._cast.options(message.wish)
            if isinstance(message, GoOn):
                kept = messages.snapshot(message, self._engine.model.lm.config.n_q, options)
                self._engine.restore(message.slot, kept)
            else:
                self._engine.open(message.slot, options)
        except UnknownVoiceError as error:
            self._link.send([Lost(message.stream, str(error), Fault.UNKNOWN_VOICE.name)])
        except ValueError as error:  # another model's, or what this one cannot follow: the stream cannot go on here
            self._link.send([Lost(message.stream, str(error))])
        else:
            machine = self._cast.machine(message.state if isinstance(message, GoOn) else None)
            self._admit(message.stream, _Served(message.slot, options, message.epoch, machine))

    def _text(self, message: Text) -> None:
        served = self._streams.get(message.stream)
        if served is None:
            return
        if message.epoch != served.epoch:
            self._engine.close(served.slot)
            self._engine.open(served.slot, served.options)
            served.epoch, served.machine = message.epoch, self._cast.machine()
        for entry in message.entries:
            served.machine.add(entry)
        if message.ended:
            served.machine.end()


def _said(stream: int, served: _Served, output: TtsOutput) -> Said:
    audio = b"" if output.audio is None else output.audio.astype(np.float32, copy=False).tobytes()
    return Said(stream, served.epoch, output.token, output.codes, audio, served.machine.state)
