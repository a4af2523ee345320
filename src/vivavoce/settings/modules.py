"""A module: one model that is served under one path, by an engine process of its own; of two kinds."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

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


Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"]
Device = Annotated[str, AfterValidator(_device)]
HttpPath = Annotated[str, AfterValidator(_path)]


class Compute(BaseModel):
    """A model and how it computes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    model: str | None = Field(
        None, description="Folder, owner/name or hf://owner/name; else the embedded model; none: no speech to text."
    )
    device: Device = Field("auto", description="auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:N, mps.")
    dtype: Dtype = Field(
        "auto", description="Precision of the weights; int8 and int4 are packed at start, int4 on a CPU."
    )
    slots: int = Field(16, ge=1, le=4096, description="Streams at once (moshi-server's batch_size).")
    threads: int | None = Field(None, ge=1, description="Threads of the arithmetic on a CPU; else torch's choice.")
    temperature: float | None = Field(
        None, ge=0, description="Of the text; 0 takes the likeliest; else the model's own."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of the sampling, when the temperature is above 0.")


class Engine(Compute):
    """What a speech-to-text module has of its own."""

    vad_head: int | None = Field(None, ge=0, description="The head whose pauses end a turn; else the model's own.")
    vad_threshold: float = Field(0.5, ge=0, le=1, description="Probability of a pause at which a turn ends.")


class Files(BaseModel):
    """Where a module is served, and what stands in the place of its model's own parts.

    `lm_file`, `mimi_file`, `tokenizer_file` replace those of the model: a local path or hf://owner/name/file.
    `codebooks` is how many of the codec's the LM hears or speaks, which may be fewer than the checkpoint has. None
    means the model's own.
    """

    label: str
    path: HttpPath
    lm_file: str | None = None
    mimi_file: str | None = None
    tokenizer_file: str | None = None
    codebooks: int | None = Field(None, ge=1)


class Module(Engine, Files):
    """What one engine process loads and serves: speech to text.

    `delay_frames` (80 ms each) replaces the model's delay of text after audio.
    """

    kind: Literal["stt"] = "stt"
    path: HttpPath = "/api/asr-streaming"
    delay_frames: int | None = Field(None, ge=0)

    @property
    def delay_seconds(self) -> float | None:
        return None if self.delay_frames is None else self.delay_frames * FRAME_SECONDS


class SpeechModule(Compute, Files):
    """What one engine process loads and serves: text to speech.

    `voice_dir` holds the voices: a folder, or hf-snapshot://owner/name[/glob]. `cfg` is how much of the guidance;
    `padding_bonus` above 0 makes speech slower; the other paddings are the script's, in frames (spec/model.md §4.2).
    None means the model's own.
    """

    kind: Literal["tts"] = "tts"
    path: HttpPath = "/api/tts_streaming"
    voice: str | None = None
    voice_dir: str | None = None
    cfg: float | None = Field(None, ge=0)
    top_k: int | None = Field(None, ge=0)
    padding_bonus: float | None = None
    padding_between: int | None = Field(None, ge=0)
    initial_padding: int | None = Field(None, ge=0)
    max_padding: int | None = Field(None, ge=1)
    final_padding: int | None = Field(None, ge=0)


class Voice(BaseModel):
    """Text to speech where no module says it; device, dtype, threads and seed hold for both."""

    tts_model: str | None = Field(
        None, description="Folder, owner/name or hf://owner/name; else the embedded voice; none: no text to speech."
    )
    tts_slots: int = Field(8, ge=1, le=4096, description="Streams of text to speech at once.")
    tts_temperature: float | None = Field(
        None, ge=0, description="Of text and codes; 0 takes the likeliest; else the model's own."
    )
    tts_voice: str | None = Field(None, description="Voice for those who ask for none; else the model's own.")
    tts_voice_dir: str | None = Field(
        None, description="Folder of voices, or hf-snapshot://owner/name/glob; else the model's own."
    )
    tts_cfg: float | None = Field(None, ge=0, description="How closely the voice is kept; else the model's own.")

    @property
    def of_tts(self) -> dict[str, Any]:
        """The keys of a SpeechModule that these are."""
        return {name.removeprefix(TTS): getattr(self, name) for name in Voice.model_fields}


TTS = "tts_"
NONE = "none"  # in the place of a model: serve none
SHARED = ("device", "dtype", "threads", "seed")  # flat settings that hold for every module
AnyModule = Module | SpeechModule
