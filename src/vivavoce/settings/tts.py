"""From moshi-server's tables Py and Tts to the keys of a text-to-speech module of ours."""

from __future__ import annotations

from typing import Any

from ..core import CheckpointError
from .asr import DTYPES
from .errors import SettingsError
from .moshi import Py, Tts
from .sources import HubSource, locate

REPOSITORY = "kyutai/tts-1.6b-en_fr"  # of a Py table that names none
_DEFAULTS = {"n_q": 24, "temp": 0.6, "cfg_coef": 2.0, "voice_folder": "~/models/tts-voices",
             "default_voice": "barack_demo.wav"}  # fmt: skip
_KEYS = {  # of a Py table's own table: what they are here
    "n_q": "codebooks", "temp": "temperature", "cfg_coef": "cfg", "voice_folder": "voice_dir",
    "default_voice": "voice", "mimi_weight": "mimi_file", "moshi_weight": "lm_file", "tokenizer": "tokenizer_file",
    "device": "device", "padding_bonus": "padding_bonus", "padding_between": "padding_between",
    "initial_padding": "initial_padding", "max_padding": "max_padding", "final_padding": "final_padding",
}  # fmt: skip
_WITHOUT_EFFECT = ("log_folder", "interleaved_text_only", "debug", "config_path")
_STREAMING = "_streaming"  # what Tts appends to its path for the websocket


def from_py(table: Py, where: str) -> tuple[dict[str, Any], list[str]]:
    """The module's keys, and warnings about what has no effect. Raises SettingsError."""
    given = table.py or {}
    wishes = {**_DEFAULTS, **{key: value for key, value in given.items() if key in _KEYS}}
    keys: dict[str, Any] = {
        "kind": "tts",
        "path": table.path,
        "slots": table.batch_size,
        "model": str(given.get("hf_repo", REPOSITORY)),
        "tokenizer_file": table.text_tokenizer_file,
        **{_KEYS[key]: value for key, value in wishes.items() if value is not None},
    }
    keys["temperature"] = max(0.0, keys["temperature"]) if isinstance(keys["temperature"], int | float) else 0.0
    if wrong := next((key for key, value in wishes.items() if isinstance(value, bool)), None):
        raise SettingsError(f"{where} py.{wrong} should not be true or false")
    return keys, [
        f"{where} py.{key} has no effect: the server does that in its own way"
        for key in _WITHOUT_EFFECT
        if key in given
    ]


def from_tts(table: Tts, where: str) -> tuple[dict[str, Any], list[str]]:
    """As `from_py`. The websocket of a Tts table is at its path with _streaming behind, which some leave out."""
    stem = table.path.removesuffix(_STREAMING)
    keys: dict[str, Any] = {
        "kind": "tts",
        "path": f"{stem}{_STREAMING}",
        "model": _home(table, where),
        "lm_file": table.lm_model_file,
        "mimi_file": table.audio_tokenizer_file,
        "tokenizer_file": table.text_tokenizer_file,
        "codebooks": table.model.audio_codebooks,
        "voice_dir": table.voice_dir,
    }
    if table.dtype_override is not None:
        if table.dtype_override not in DTYPES:
            raise SettingsError(f"{where} dtype_override should be bf16, f16 or f32, found {table.dtype_override!r}")
        keys["dtype"] = DTYPES[table.dtype_override]
    warnings = [f"{where} {key} has no effect: {why}" for key, why in _without_effect(table)]
    if table.voice_dir.endswith(".wav"):
        keys["voice_dir"] = table.voice_dir.removesuffix(".wav") + ".safetensors"
        warnings.append(
            f"{where} voice_dir: what is used are the speaker embeddings beside the recordings (.safetensors)"
        )
    return keys, warnings


def _without_effect(table: Tts) -> list[tuple[str, str]]:
    own = "the checkpoint's config.json says it"
    return [
        ("generation", own),
        *([("model.conditioners", own)] if table.model.conditioners else []),
        *([("voices", "voices are those of voice_dir")] if table.voices else []),
        *([("log_tokens", "this build does not write tokens to files")] if table.log_tokens else []),
    ]


def _home(table: Tts, where: str) -> str:
    """Where the model's config.json is: beside the LM."""
    try:
        source = locate(table.lm_model_file)
    except CheckpointError as error:
        if table.lm_model_file.startswith("hf://"):
            raise SettingsError(f"{where} {error}") from None
        return table.lm_model_file.rpartition("/")[0] or "."
    return f"hf://{source.repository}" if isinstance(source, HubSource) else str(source.folder)
