"""From a released text-to-speech checkpoint to networks that can step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..core import CheckpointError, UnsupportedError
from ..nn.conditions import Conditions
from ..settings.sources import embedded
from . import pytorch, speech
from .assembly import AS_IT_IS, Instead, build, file_of, torch_device, torch_dtype
from .config import Fields
from .folder import Folder, open_pinned
from .model import languages
from .pieces import fill
from .random import RANDOM
from .random_tts import random_tts
from .tensors import Sizes, Tensors
from .tts_model import SPEAKERS, TtsConfig, TtsModel
from .vocabulary import read_tokenizer


def load_tts(
    source: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str | torch.dtype | None = None,
    instead: Instead = AS_IT_IS,
) -> TtsModel:
    """Load a text-to-speech model; arguments and errors are those of `load_stt`.

    `random:tts-1.6b` and `random:tts-0.75b` are noise of these shapes. `instead.codebooks` is how many are generated.
    """
    target = torch_device(device)
    wanted, packed = torch_dtype(dtype, target)
    if packed and target.type != "cpu":
        raise UnsupportedError(f"dtype {packed} of a model that speaks needs the CPU, and the device is {target}")
    model = _open(source, target, wanted, instead)
    return replace(_with_codebooks(model, instead.codebooks), packed=packed)


def _open(source: str | Path | None, device: torch.device, dtype: torch.dtype | None, instead: Instead) -> TtsModel:
    if isinstance(source, str) and source.startswith(RANDOM):
        return random_tts(source.removeprefix(RANDOM), device, dtype)
    folder = open_pinned(embedded("tts") if source is None else source)
    config = Fields.read(folder.get("config.json"))
    speech.check_supported(config)
    return _load(folder, config, device, dtype, instead)


def _load(
    folder: Folder, config: Fields, device: torch.device, dtype: torch.dtype | None, instead: Instead
) -> TtsModel:
    lm_file = file_of(instead.lm) or folder.get(folder.weights or config.text("moshi_name", "model.safetensors"))
    mimi_file = file_of(instead.mimi) or folder.get(config.text("mimi_name"))
    tokenizer_file = file_of(instead.tokenizer) or folder.get(config.text("tokenizer_name"))
    described = config.text("mimi_config_name", "")
    tensors, mimi_tensors = Tensors.open([lm_file]), Tensors.open([mimi_file])
    lm_tensors, condition_tensors = speech.split(tensors)
    lm, conditions = pytorch.lm_config(config, Sizes(lm_tensors)), speech.conditions_config(config)
    attention = pytorch.mimi_attention(config, Fields.read(folder.get(described)) if described else None)
    mimi = pytorch.mimi_config(Sizes(mimi_tensors), attention)
    tokenizer = read_tokenizer(tokenizer_file, lm.text_card)
    layouts = pytorch.lm_layout(lm), pytorch.mimi_layout(mimi)
    networks = build(lm, mimi, layouts, lm_tensors, mimi_tensors, device, dtype)
    with torch.device("meta"):
        empty = Conditions(conditions)
    conditioned = fill(empty, speech.conditions_layout(conditions), condition_tensors, device, torch.float32)
    files = {"lm": str(lm_file), "mimi": str(mimi_file), "tokenizer": str(tokenizer_file)}
    return TtsModel(_settings(folder, config), *networks, conditioned, tokenizer, files)


def _settings(folder: Folder, config: Fields) -> TtsConfig:
    tts, sampling, identity = (config.section(key) for key in ("tts_config", "lm_gen_config", "model_id"))
    name = f".{identity.text('sig', '')}@{identity.integer('epoch', 0)}.safetensors" if identity.values else ""
    return TtsConfig(
        name=folder.name,
        audio_delay_seconds=tts.number("audio_delay"),
        second_stream_ahead=tts.integer("second_stream_ahead", 0),
        codebooks=config.integer("dep_q"),
        max_speakers=tts.integer("max_speakers", TtsConfig.max_speakers),
        voice_frames=tts.integer("voice_frames", TtsConfig.voice_frames),
        voice_suffix=name if SPEAKERS in config.section("conditioners").values else "",
        temperature=sampling.number("temp", TtsConfig.temperature),
        temperature_text=sampling.number("temp_text", TtsConfig.temperature_text),
        top_k=sampling.integer("top_k", TtsConfig.top_k),
        top_k_text=sampling.integer("top_k_text", TtsConfig.top_k_text),
        guidance=tts.number("guidance", TtsConfig.guidance),
        initial_padding=tts.integer("initial_padding", TtsConfig.initial_padding),
        max_padding=tts.integer("max_padding", TtsConfig.max_padding),
        padding_between=tts.integer("padding_between", TtsConfig.padding_between),
        final_padding=tts.integer("final_padding", TtsConfig.final_padding),
        languages=tts.strings("languages") or languages(config.text("tokenizer_name")),
    )


def _with_codebooks(model: TtsModel, codebooks: int | None) -> TtsModel:
    if codebooks is None:
        return model
    most = model.config.codebooks
    if not 1 <= codebooks <= most:
        raise CheckpointError(f"{model.config.name}: the LM speaks 1 to {most} codebooks, not {codebooks}")
    return replace(model, config=replace(model.config, codebooks=codebooks))
