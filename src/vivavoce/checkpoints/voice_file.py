"""Files that hold a voice, `<name>.<sig>@<epoch>.safetensors`: what a model hears of a speaker (spec §4.4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..core import UnknownVoiceError

KEY = "speaker_wavs"  # float32 [1, dim, frames]
RECORDINGS = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm"})  # what people have of a voice


def check_voice(path: Path, frames: int, dim: int) -> None:
    """Raises UnknownVoiceError unless the file says that it holds a voice of that size. Reads its header only."""
    with _open(path) as file:
        _voice(path, file, frames, dim)


def read_voice(path: Path, frames: int, dim: int) -> NDArray[np.float32]:
    """The voice in a file: float32 [frames, dim], not to be written to.

    Raises UnknownVoiceError where there is none of that size.
    """
    with _open(path) as file:
        latents: NDArray[np.float32] = _voice(path, file, frames, dim)[:]
    if not np.isfinite(latents).all():
        raise UnknownVoiceError(f"{path}: the voice has values that are not finite")
    voice = np.ascontiguousarray(latents[0].T)
    voice.flags.writeable = False
    return voice


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise UnknownVoiceError(f"{path}: not a readable safetensors file ({error})") from error


def _voice(path: Path, file: Any, frames: int, dim: int) -> Any:
    """The tensor, not read yet."""
    if KEY not in file.keys():  # noqa: SIM118  (not a mapping)
        raise UnknownVoiceError(f"{path}: no voice, tensor {KEY} is missing")
    tensor = file.get_slice(KEY)
    found, wanted = (tensor.get_dtype(), list(tensor.get_shape())), ("F32", [1, dim, frames])
    if found != wanted:
        raise UnknownVoiceError(f"{path}: {KEY} is {found[0]} {found[1]}, expected {wanted[0]} {wanted[1]}")
    return tensor


def no_recording(model: str) -> str:
    """Why a model that hears its voice as an embedding (`TtsModel.voice_dim` not 0) cannot speak like a recording.

    One without embeddings can: it goes on from the codes of the recording.
    """
    return f"{model} takes no recording as its voice: the encoder that makes its voices of them was never released"
