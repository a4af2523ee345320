"""What the server and the engine's process tell each other: msgpack lists of tagged structs over ZeroMQ.

A list travels as one message, so that a step's results, or all frames of one turn of the event loop, are one send.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True)
class EngineSpec:
    """What an engine's process needs to load and run a model."""

    model: str | None = None  # as `vivavoce.checkpoints.load_stt` takes it; "random:stt-1b" is noise of that shape
    device: str = "auto"
    dtype: str | None = None  # of the LM; None is the loader's choice
    slots: int = 16
    threads: int | None = None  # of the CPU, for one step; None is torch's choice
    files: dict[str, str] = field(default_factory=dict)  # instead of the model's own: lm, mimi, tokenizer
    delay_seconds: float | None = None  # instead of the model's own
    silence_prefix_seconds: float | None = None  # instead of the model's own
    temperature: float | None = None  # instead of the model's own


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded engine says of itself."""

    name: str
    languages: tuple[str, ...]
    slots: int
    pieces: tuple[str, ...]  # sentencepiece pieces by token id
    delay_seconds: float  # of the text behind the audio
    silence_prefix_seconds: float
    vad_heads: int
    vad_head: int  # the model's own choice for the end of a turn
    temperature: float
    n_q: int  # codebooks that the LM hears
    snapshot_frames: tuple[int, int]  # columns of codes and frames of audio that a stream's history keeps
    device: str
    dtype: str
    files: dict[str, str]
    pid: int


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of both directions."""
