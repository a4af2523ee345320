"""What the server and a speaking engine's process tell each other, besides what all engines say."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from vivavoce.engine.tts_snapshot import TtsHistory, TtsOptions, TtsSnapshot
from vivavoce.session import Entry, ScriptState, TtsProfile

from .message import Info, Message, Spec


@dataclass(frozen=True)
class SpeechSpec(Spec):
    """What an engine's process needs to load and run a model that speaks. None is the model's own."""

    voice_dir: str | None = None  # a folder, or hf-snapshot://owner/name[/glob]
    voice: str | None = None  # for those who ask for none
    cfg: float | None = None
    top_k: int | None = None
    padding_bonus: float | None = None
    paddings: dict[str, int] = field(default_factory=dict)  # of the script, by their names in TtsProfile


@dataclass(frozen=True, kw_only=True)
class SpeechInfo(Info):
    """What a loaded engine that speaks says of itself."""

    voices: tuple[str, ...]
    voice: str | None  # for those who ask for none; None: the model knows no voices, or speaks without one
    voice_shape: tuple[int, int] | None  # most frames, and width, of a speaker embedding; None: the model takes none
    most_voices: int  # in one stream
    profile: TtsProfile
    dep_q: int  # codebooks that the LM speaks
    history_steps: int  # that are worth keeping of a stream


class Wish(msgspec.Struct, array_like=True, frozen=True):
    """How one stream is to speak. None is the model's own choice."""

    voices: tuple[str, ...] = ()  # names
    embedding: bytes = b""  # float32 [frames, dim], in the place of a name
    cfg: float | None = None
    temperature: float | None = None
    top_k: int | None = None
    seed: int = 0


# --- to the engine ---


class LoadSpeech(Message):
    """The first message: what to load."""

    spec: SpeechSpec


class Speak(Message):
    """A stream begins in a free slot; answered by `Opened`."""

    stream: int
    slot: int
    wish: Wish
    epoch: int


class GoOn(Message):
    """A stream goes on in a free slot where it stood; answered by `Opened`."""

    stream: int
    slot: int
    wish: Wish
    epoch: int
    state: ScriptState
    steps: int
    tokens: bytes  # int32 [k]
    codes: bytes  # int32 [k, dep_q]


class Text(Message):
    """More of the script. Of another epoch than before: the stream begins afresh with it."""

    stream: int
    epoch: int
    entries: list[Entry]
    ended: bool  # no more will come


class Grant(Message):
    """One step may be made of a stream; answered within a `Spoke`."""

    stream: int


# --- from the engine ---


class ReadyToSpeak(Message):
    """The model is loaded and warm."""

    info: SpeechInfo
    steps: list[tuple[int, float]]  # streams and seconds of steps that were timed


class Said(msgspec.Struct, array_like=True):
    """What one grant gave."""

    stream: int
    epoch: int
    token: int
    codes: tuple[int, ...] | None
    audio: bytes  # float32 [1920]; empty while there is none
    state: ScriptState  # after it


class Spoke(Message):
    """One step, and how long it took; and the grants that could not be taken, because the text was not known yet."""

    results: list[Said]
    starved: list[int]  # a stream for each
    seconds: float
    beside: int = 0  # streams of other workers of the server in the same step
    all_audio: bool = True  # whether each of those gave some


def go_on(stream: int, slot: int, wish: Wish, epoch: int, state: ScriptState, history: TtsHistory) -> GoOn:
    """The message that brings a stream to the engine."""
    kept = history.snapshot(TtsOptions())  # the wish stands for them
    return GoOn(stream, slot, wish, epoch, state, kept.steps, kept.tokens.tobytes(), kept.codes.tobytes())


def snapshot(message: GoOn, dep_q: int, options: TtsOptions) -> TtsSnapshot:
    """The snapshot that a message carries; ValueError when its parts do not belong together."""
    tokens, codes = (np.frombuffer(data, np.int32) for data in (message.tokens, message.codes))
    return TtsSnapshot(message.steps, tokens, codes.reshape(-1, dep_q), options)
