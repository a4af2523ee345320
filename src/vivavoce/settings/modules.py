"""A module: one model that is served under one path, by an engine process of its own."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..core import FRAME_SECONDS


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise ValueError("should be auto, cpu, cuda, cuda:N or mps")
    return value


def _path(value: str) -> str:
    if not re.fullmatch(r"/[\w.~/-]*", value, re.ASCII):
        raise ValueError("should begin with / and hold letters, digits and . _ ~ - / only")
    return value


Device = Annotated[str, AfterValidator(_device)]
HttpPath = Annotated[str, AfterValidator(_path)]


class Engine(BaseModel):
    """The model and how it computes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    model: str | None = Field(None, description="Folder, owner/name or hf://owner/name; else the embedded model.")
    device: Device = Field("auto", description="auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:N, mps.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Precision of the weights.")
    slots: int = Field(16, ge=1, le=4096, description="Streams at once (moshi-server's batch_size).")
    threads: int | None = Field(None, ge=1, description="Threads of the arithmetic on a CPU; else torch's choice.")
    temperature: float | None = Field(
        None, ge=0, description="Of the text; 0 takes the likeliest; else the model's own."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of the sampling, when the temperature is above 0.")
    vad_head: int | None = Field(None, ge=0, description="The head whose pauses end a turn; else the model's own.")
    vad_threshold: float = Field(0.5, ge=0, le=1, description="Probability of a pause at which a turn ends.")


class Module(Engine):
    """What one engine process loads and serves.

    `lm_file`, `mimi_file`, `tokenizer_file` replace those of the model: a local path or hf://owner/name/file.
    `delay_frames` (80 ms each) replaces the model's delay of text after audio; `codebooks` is how many of the codec's
    the LM hears, which may be fewer than the checkpoint has. None means the model's own.
    """

    label: str
    kind: Literal["stt"] = "stt"
    path: HttpPath = "/api/asr-streaming"
    lm_file: str | None = None
    mimi_file: str | None = None
    tokenizer_file: str | None = None
    delay_frames: int | None = Field(None, ge=0)
    codebooks: int | None = Field(None, ge=1)

    @property
    def delay_seconds(self) -> float | None:
        return None if self.delay_frames is None else self.delay_frames * FRAME_SECONDS
