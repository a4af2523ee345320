"""A module: one model that is served under one path."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict


class Module(BaseModel):
    """What one engine process is to load and serve.

    `lm_file`, `mimi_file`, `tokenizer_file` replace those of the model: a local path or hf://owner/name/file.
    `delay_frames` (80 ms each) replaces the model's delay of text after audio. None means the model's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    ENGINE: ClassVar[tuple[str, ...]] = (
        "model", "device", "dtype", "slots", "threads", "temperature", "seed", "vad_head", "vad_threshold",
    )  # fmt: skip

    label: str
    kind: Literal["stt"] = "stt"
    path: str = "/api/asr-streaming"
    model: str | None = None
    lm_file: str | None = None
    mimi_file: str | None = None
    tokenizer_file: str | None = None
    delay_frames: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    slots: int = 16
    threads: int | None = None
    temperature: float | None = None
    seed: int = 0
    vad_head: int | None = None
    vad_threshold: float = 0.5
