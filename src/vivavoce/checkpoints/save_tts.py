"""Writing a text-to-speech model in the PyTorch layout, which the reference package reads too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..core import CheckpointError
from ..nn.conditions import ConditionerConfig, ConditionsConfig
from ..nn.lm import LmConfig
from .pieces import dump
from .pytorch import lm_layout, mimi_layout
from .save import MIMI, MIMI_CONFIG, TOKENIZER, WEIGHTS, hidden_scale, lm_json, mimi_json, write
from .speech import conditions_layout
from .tts_model import TtsConfig, TtsModel


def save_tts(
    model: TtsModel, folder: str | Path, *, dtype: torch.dtype = torch.bfloat16, codec: str | None = None
) -> None:
    """Write config.json, the LM's weights in `dtype`, the conditioners' and the codec's in fp32, and the tokenizer.

    `codec` is another model's folder, relative to this one, whose codec is the same: it is then not written again.
    config.json comes last, so an interrupted save leaves no folder that looks whole. Raises CheckpointError for sizes
    that the layout cannot tell.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    (folder / TOKENIZER).write_bytes(model.tokenizer.serialized_model_proto())
    conditions = dump(model.conditions, conditions_layout(model.conditions.config), torch.float32)
    write(folder / WEIGHTS, dump(model.lm, lm_layout(model.lm.config), dtype) | conditions)
    if codec is None:
        write(folder / MIMI, dump(model.mimi, mimi_layout(model.mimi.config), torch.float32))
        (folder / MIMI_CONFIG).write_text(json.dumps(mimi_json(model.mimi.config), indent=2))
    values = config_json(model.config, model.lm.config, model.conditions.config, f"{codec}/" if codec else "")
    (folder / "config.json").write_text(json.dumps(values, indent=2))


def config_json(config: TtsConfig, lm: LmConfig, conditions: ConditionsConfig, codec: str = "") -> dict[str, Any]:
    """The released key set (spec/model.md §6). Keys of our own stay inside tts_config, which the reference ignores."""
    assert lm.depformer is not None
    return {
        **lm_json(lm),
        "dep_q": lm.depformer.dep_q,
        "delays": [0, *lm.delays],
        "demux_second_stream": lm.demux,
        **_depformer_json(lm),
        **_conditions_json(conditions),
        "cross_attention": lm.cross_attention,
        "model_id": _identity(config.voice_suffix),
        "lm_gen_config": {
            "temp": config.temperature,
            "temp_text": config.temperature_text,
            "top_k": config.top_k,
            "top_k_text": config.top_k_text,
        },
        "tts_config": {
            "audio_delay": config.audio_delay_seconds,
            "second_stream_ahead": config.second_stream_ahead,
            "max_speakers": config.max_speakers,
            "voice_frames": config.voice_frames,
            "guidance": config.guidance,
            "initial_padding": config.initial_padding,
            "max_padding": config.max_padding,
            "padding_between": config.padding_between,
            "final_padding": config.final_padding,
            "languages": list(config.languages),
        },
        "model_type": "tts",
        "mimi_name": codec + MIMI,
        "mimi_config_name": codec + MIMI_CONFIG,
        "tokenizer_name": TOKENIZER,
    }


def _depformer_json(lm: LmConfig) -> dict[str, Any]:
    depformer = lm.depformer
    assert depformer is not None
    return {
        "depformer_dim": depformer.dim,
        "depformer_num_heads": depformer.num_heads,
        "depformer_num_layers": depformer.num_layers,
        "depformer_dim_feedforward": int(hidden_scale(depformer.dim, depformer.hidden) * depformer.dim),
        "depformer_multi_linear": True,
        "depformer_pos_emb": "none",
        "depformer_weights_per_step": True,
        "depformer_weights_per_step_schedule": list(depformer.schedule),
        "depformer_low_rank_embeddings": depformer.rank or None,
    }


def _conditions_json(conditions: ConditionsConfig) -> dict[str, Any]:
    if not conditions.conditioners:
        return {"conditioners": {}}
    fuser = {
        "cross_attention_pos_emb": conditions.positions,
        "cross_attention_pos_emb_scale": conditions.scale,
        "sum": list(conditions.added),
        "prepend": [],
        "cross": list(conditions.crossed),
    }
    return {"conditioners": {c.name: _conditioner_json(c) for c in conditions.conditioners}, "fuser": fuser}


def _conditioner_json(conditioner: ConditionerConfig) -> dict[str, Any]:
    if not conditioner.bins:
        return {"type": "tensor", "tensor": {"dim": conditioner.dim}}
    values = list(conditioner.values)
    sizes = {"n_bins": conditioner.bins, "dim": conditioner.dim, "tokenizer": "noop", "possible_values": values}
    return {"type": "lut", "lut": sizes}


def _identity(suffix: str) -> dict[str, Any]:
    """model_id, from the voices' suffix `.sig@epoch.safetensors`."""
    if not suffix:
        return {"sig": "none", "epoch": 0}
    sig, _, epoch = suffix.removeprefix(".").removesuffix(".safetensors").partition("@")
    if not sig or not epoch.isdigit():
        raise CheckpointError(f"voice_suffix is {suffix!r}, expected the form .sig@epoch.safetensors")
    return {"sig": sig, "epoch": int(epoch)}
