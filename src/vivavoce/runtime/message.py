"""What all messages between the server and an engine's process are."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class Message(msgspec.Struct, array_like=True, tag=True):
    """Base of both directions."""


@dataclass(frozen=True)
class Spec:
    """What an engine's process needs to load and run a model of any kind."""

    model: str | None = None  # as `vivavoce.checkpoints` takes it; "random:stt-1b" is noise of that shape
    device: str = "auto"
    dtype: str | None = None  # of the LM; None is the loader's choice
    slots: int = 16
    threads: int | None = None  # of the CPU, for one step; None is torch's choice
    files: dict[str, str] = field(default_factory=dict)  # instead of the model's own: lm, mimi, tokenizer
    temperature: float | None = None  # instead of the model's own
    codebooks: int | None = None  # that the LM hears or speaks, of those it was trained with


@dataclass(frozen=True, kw_only=True)
class Info:
    """What a loaded engine of any kind says of itself."""

    name: str
    languages: tuple[str, ...]
    slots: int
    device: str
    dtype: str
    files: dict[str, str]
    pid: int
