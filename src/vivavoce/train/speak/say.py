"""What a model says, many texts at a time: the engine and the script machine as the server runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vivavoce.checkpoints import TtsModel
from vivavoce.core import FRAME_RATE
from vivavoce.engine.tts import TtsEngine
from vivavoce.engine.tts_snapshot import TtsOptions
from vivavoce.runtime.speech_loading import profile_of
from vivavoce.session.script import ScriptMachine
from vivavoce.session.text import TextReader

from ..corpus import Audio

SLOTS = 16


@dataclass(frozen=True)
class Line:
    """One text and how it is to be said."""

    text: str
    speaker: str
    options: TtsOptions


@dataclass
class Spoken:
    """What became of it."""

    line: Line
    machine: ScriptMachine
    frames: list[Audio] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)  # seconds at which each word should start

    @property
    def audio(self) -> Audio:
        """Samples [n] at 24 kHz."""
        return np.concatenate([*self.frames, np.zeros(0, np.float32)])


def options_for(model: TtsModel, voice: NDArray[np.float32], seed: int) -> TtsOptions:
    """The model's own settings, with a voice [frames, dim]."""
    config = model.config
    return TtsOptions(
        voices=(voice,),
        temperature=config.temperature,
        temperature_text=config.temperature_text,
        top_k=config.top_k,
        top_k_text=config.top_k_text,
        seed=seed,
    )


def say(model: TtsModel, lines: Sequence[Line]) -> list[Spoken]:
    """Each line, spoken by a stream of its own."""
    engine, profile = TtsEngine(model, SLOTS), profile_of(model)
    spoken = [Spoken(line, ScriptMachine(profile, model.tokenizer.encode)) for line in lines]
    waiting, running = list(enumerate(spoken))[::-1], dict[int, Spoken]()
    while waiting or running:
        while waiting and len(running) < SLOTS:
            number, one = waiting.pop()
            slot = next(slot for slot in range(SLOTS) if slot not in running)
            reader = TextReader()
            for entry in reader.push(one.line.text) + reader.end():
                one.machine.add(entry)
            one.machine.end()
            engine.open(slot, replace(one.line.options, seed=one.line.options.seed + number))
            running[slot] = one
        for slot, output in engine.step({slot: _act(one) for slot, one in running.items()}).items():
            if output.audio is not None:
                running[slot].frames.append(output.audio)
            if running[slot].machine.finished:
                engine.close(slot)
                del running[slot]
    return spoken


def _act(one: Spoken) -> Callable[[int], int]:
    def act(sampled: int) -> int:
        before = one.machine.state
        token = one.machine.act(sampled)
        if one.machine.state.taken > before.taken:
            one.starts.append(before.steps / FRAME_RATE)
        return token

    return act
