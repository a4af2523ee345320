"""What the server and the engine's process tell each other: msgpack lists of tagged structs over a socket.

A list travels as one message, so that a step's results, or all frames that came at about one time, are one send.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from vivavoce.core import FRAME_SIZE, ExitCode, Fault
from vivavoce.engine.snapshot import Snapshot
from vivavoce.engine.terms import Term

from .message import Info, Message, Spec
from .speech_messages import GoOn, Grant, LoadSpeech, ReadyToSpeak, Speak, SpeechSpec, Spoke, Text


@dataclass(frozen=True)
class EngineSpec(Spec):
    """What an engine's process needs to load and run a model that hears. None is the model's own."""

    delay_seconds: float | None = None
    silence_prefix_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelInfo(Info):
    """What a loaded engine that hears says of itself."""

    pieces: tuple[str, ...]  # sentencepiece pieces by token id
    delay_seconds: float  # of the text behind the audio
    silence_prefix_seconds: float
    vad_heads: int
    vad_head: int  # the model's own choice for the end of a turn
    temperature: float
    n_q: int  # codebooks that the LM hears
    snapshot_frames: tuple[int, int]  # columns of codes and frames of audio that a stream's history keeps
    tokenizer: bytes = b""  # a sentencepiece model, to spell key terms with; empty where there is none


# --- to the engine ---


class Load(Message):
    """The first message: what to load."""

    spec: EngineSpec


class Open(Message):
    """A stream begins in a free slot; answered by `Opened`."""

    stream: int
    slot: int
    temperature: float
    seed: int
    terms: tuple[Term, ...] = ()


class Restore(Message):
    """A stream goes on in a free slot as its snapshot says; answered by `Opened`."""

    stream: int
    slot: int
    frames: int
    text: bytes  # int32 [k + 1]
    codes: bytes  # int32 [k, n_q]
    audio: bytes  # float32 [m, 1920]
    temperature: float
    seed: int
    terms: tuple[Term, ...] = ()


class Frames(Message):
    """A frame of each of these streams, one of whom may be there twice; answered within a `Stepped`.

    The audio, float32 [streams, 1920], is the parcel's, in the order of its messages.
    """

    streams: list[int]
    afresh: list[int]  # places among them: the model forgets the stream before it hears this frame


class Close(Message):
    """A stream is over; frames of it that wait are dropped without an answer."""

    stream: int


ToEngine = Load | Open | Restore | Frames | Close | LoadSpeech | Speak | GoOn | Text | Grant

# --- from the engine ---


class Ready(Message):
    """The model is loaded and warm."""

    info: ModelInfo
    steps: list[tuple[int, float]]  # streams and seconds of steps that were timed


class Failed(Message):
    """The model cannot be loaded; the process ends."""

    reason: str  # one line
    exit_code: int = ExitCode.FAILURE  # of a command that needed the model


class Opened(Message):
    """A stream has its slot; the first text token, which a restored stream knew already."""

    stream: int
    token: int | None


class Stepped(Message):
    """One step, and how long it took. Rows are the frames of the first stream, in order, then those of the next."""

    streams: list[int]
    frames: int  # of each stream
    tokens: list[int]  # [rows]
    logprobs: list[float]  # [rows]
    vad: bytes  # float64 [rows, heads]
    codes: bytes  # int32 [rows, n_q]
    starts: dict[int, int]  # of streams that were heard afresh: the first text token of the new context
    seconds: float
    beside: int = 0  # streams of other workers of the server in the same step


class Lost(Message):
    """The engine cannot go on with this stream; the others are well."""

    stream: int
    reason: str
    fault: str = Fault.INTERNAL.name


class Malformed(Message):
    """The engine could not read what it was sent."""

    reason: str


FromEngine = Ready | Failed | Opened | Stepped | Lost | Malformed | ReadyToSpeak | Spoke

encode = msgspec.msgpack.Encoder().encode
decode_to_engine = msgspec.msgpack.Decoder(list[ToEngine]).decode
decode_from_engine = msgspec.msgpack.Decoder(list[FromEngine]).decode


def load(spec: Spec) -> Load | LoadSpeech:
    """The first message to an engine of the spec's kind."""
    if isinstance(spec, SpeechSpec):
        return LoadSpeech(spec)
    assert isinstance(spec, EngineSpec), f"no engine is of the kind {type(spec).__name__}"
    return Load(spec)


def restore(stream: int, slot: int, snapshot: Snapshot) -> Restore:
    """The message that brings a snapshot to the engine."""
    return Restore(
        stream,
        slot,
        snapshot.frames,
        snapshot.text.tobytes(),
        snapshot.codes.tobytes(),
        snapshot.audio.tobytes(),
        snapshot.temperature,
        snapshot.seed,
        snapshot.terms,
    )


def snapshot(message: Restore, n_q: int) -> Snapshot:
    """The snapshot that a message carries; ValueError when its parts do not belong together."""
    text, codes = (np.frombuffer(data, np.int32) for data in (message.text, message.codes))
    audio = np.frombuffer(message.audio, np.float32).reshape(-1, FRAME_SIZE)
    how = message.temperature, message.seed, message.terms
    return Snapshot(message.frames, text, codes.reshape(-1, n_q), audio, *how)
