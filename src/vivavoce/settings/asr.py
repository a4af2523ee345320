"""From moshi-server's tables Asr and BatchedAsr to the keys of a module of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core import CheckpointError
from .errors import SettingsError
from .moshi import Asr, BatchedAsr
from .paths import on_this_machine
from .sizes import check_config, check_sizes
from .sources import HubSource, locate

DTYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}


def speech_to_text(table: Asr, where: str) -> tuple[dict[str, Any], list[str]]:
    """The module's keys, and warnings about what has no effect or cannot be checked.

    Raises SettingsError for what the engine cannot do, and for sizes that are not the checkpoint's.
    """
    _check_transformer(table, where)
    _check_conditioning(table, where)
    keys: dict[str, Any] = {
        "path": table.path,
        "model": _home(table, where),
        "lm_file": table.lm_model_file,
        "mimi_file": table.audio_tokenizer_file,
        "tokenizer_file": table.text_tokenizer_file,
        "delay_frames": table.asr_delay_in_tokens,
        "codebooks": table.model.audio_codebooks,
        "temperature": max(0.0, table.temperature),  # the reference takes all up to 0 for the likeliest token
    }
    if isinstance(table, BatchedAsr):
        keys["slots"] = table.batch_size
    if table.dtype_override is not None:
        if table.dtype_override not in DTYPES:
            raise SettingsError(f"{where} dtype_override should be bf16, f16 or f32, found {table.dtype_override!r}")
        keys["dtype"] = DTYPES[table.dtype_override]
    warnings = [*_without_effect(table, where), *_files(table, where), *check_sizes(table, where)]
    if config := on_this_machine(f"{keys['model']}/config.json"):
        warnings += check_config(table, config, where)
    return keys, warnings


def _home(table: Asr, where: str) -> str:
    """Where the model's config.json is: beside the LM, or beside the tokenizer or the codec of a converted LM."""
    for file in (table.lm_model_file, table.text_tokenizer_file, table.audio_tokenizer_file):
        if file.startswith("hf://"):
            try:
                source = locate(file)
            except CheckpointError as error:
                raise SettingsError(f"{where} {error}") from None
            assert isinstance(source, HubSource)
            return f"hf://{source.repository}"
        if (Path(file).parent / "config.json").is_file():
            return str(Path(file).parent)
    return str(Path(table.lm_model_file).parent)


def _check_transformer(table: Asr, where: str) -> None:
    """What the reference's batched transformer takes, and ours."""
    transformer = table.model.transformer
    wanted: dict[str, tuple[object, ...]] = {
        "causal": (True,),
        "norm_first": (True,),
        "kv_repeat": (1,),
        "use_conv_block": (False,),
        "bias_ff": (False,),
        "bias_attn": (False,),
        "norm": ("RmsNorm",),
        "positional_embedding": ("Rope",),
        "gating": ("silu",),
        "layer_scale": (None,),
        "cross_attention": (None,),
    }
    for key, allowed in wanted.items():
        if (value := getattr(transformer, key)) not in allowed:
            raise SettingsError(f"{where} model.transformer.{key} should be {allowed[0]!r}, found {value!r}")


def _check_conditioning(table: Asr, where: str) -> None:
    if not table.model.conditioners:
        return
    if (table.conditioning_delay is not None) == table.conditioning_learnt_padding:
        seen = "both" if table.conditioning_learnt_padding else "neither"
        raise SettingsError(
            f"{where} a model with conditioners needs one of conditioning_delay and conditioning_learnt_padding, "
            f"found {seen}"
        )
    raise SettingsError(f"{where} model.conditioners: this build serves no conditioned speech-to-text model")


def _without_effect(table: Asr, where: str) -> list[str]:
    found = []
    if table.conditioning_delay is not None:
        found.append(f"{where} conditioning_delay has no effect: the model has no conditioners")
    if table.log_frequency_s is not None:
        found.append(f"{where} log_frequency_s has no effect: this build does not write tokens to files")
    return found


def _files(table: Asr, where: str) -> list[str]:
    """What is on no hub and not here will be missed when the model is loaded; the TOML itself may be right."""
    keys = ("lm_model_file", "text_tokenizer_file", "audio_tokenizer_file")
    named = {key: getattr(table, key) for key in keys}
    missing = [key for key, file in named.items() if not file.startswith("hf://") and on_this_machine(file) is None]
    return [f"{where} {key}: there is no file {named[key]} here" for key in missing]
