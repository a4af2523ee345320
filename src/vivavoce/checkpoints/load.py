"""From a checkpoint of any released layout to networks that can step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..core import UnsupportedError
from . import pytorch, trfs
from .assembly import AS_IT_IS, Instead, build, file_of, torch_device, torch_dtype
from .config import Fields
from .folder import Folder, open_pinned
from .model import SttConfig, SttModel, languages
from .random import RANDOM, random_stt
from .tensors import Sizes, Tensors
from .vocabulary import read_pieces


def load_stt(
    source: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str | torch.dtype | None = None,
    instead: Instead = AS_IT_IS,
) -> SttModel:
    """Load a speech-to-text model.

    `source`: a folder; its config.json or weights file; `owner/name`, `hf://owner/name`, either with `@revision`, or
    `hf://owner/name/file` on the hub; the name of an embedded model; None for the embedded default; `random:stt-1b` for
    noise of that shape (checkpoints/random.py).
    `device`: a torch device, or "auto" for CUDA where there is one.
    `dtype` of the LM: by default the file's, but fp32 for small models on the CPU. "int8", and on the CPU "int4":
    the tensors are loaded as by default, and an engine packs them. The codec is always fp32.
    `instead`: single files and the number of codebooks that replace the model's own.

    Raises CheckpointError (the files), DownloadError (the hub), UnsupportedError (the device).
    """
    target = torch_device(device)
    wanted, packed = torch_dtype(dtype, target)
    return replace(_open(source, target, wanted, instead), packed=packed)


def _open(source: str | Path | None, device: torch.device, dtype: torch.dtype | None, instead: Instead) -> SttModel:
    if isinstance(source, str) and source.startswith(RANDOM):
        return random_stt(source.removeprefix(RANDOM), device, dtype)
    folder = open_pinned(source)
    config = Fields.read(folder.get("config.json"))
    if config.values.get("model_type") == trfs.MODEL_TYPE:
        if instead != AS_IT_IS:
            raise UnsupportedError(f"{folder.name}: a -trfs model is one file, of which no part can be replaced")
        return _load_trfs(folder, config, device, dtype)
    return _load_pytorch(folder, config, device, dtype, instead)


def _load_pytorch(
    folder: Folder, config: Fields, device: torch.device, dtype: torch.dtype | None, instead: Instead
) -> SttModel:
    pytorch.check_supported(config)
    stt = config.section("stt_config")
    tokenizer = config.text("tokenizer_name")
    settings = SttConfig(
        name=folder.name,
        audio_delay_seconds=stt.number("audio_delay_seconds"),
        audio_silence_prefix_seconds=stt.number("audio_silence_prefix_seconds", 0.0),
        temperature=config.section("lm_gen_config").number("temp_text", 0.0),
        vad_head=stt.integer("vad_head", SttConfig.vad_head),
        languages=stt.strings("languages") or languages(tokenizer),
    )
    lm_file = file_of(instead.lm) or folder.get(folder.weights or config.text("moshi_name", "model.safetensors"))
    mimi_path = file_of(instead.mimi) or folder.get(config.text("mimi_name"))
    lm_tensors, mimi_tensors = Tensors.open([lm_file]), Tensors.open([mimi_path])
    lm = pytorch.lm_config(config, Sizes(lm_tensors))
    if instead.codebooks is not None:
        lm, lm_tensors = pytorch.hear_fewer(lm, lm_tensors, instead.codebooks)
    mimi_file = config.text("mimi_config_name", "")
    attention = pytorch.mimi_attention(config, Fields.read(folder.get(mimi_file)) if mimi_file else None)
    mimi = pytorch.mimi_config(Sizes(mimi_tensors), attention)
    tokenizer_file = file_of(instead.tokenizer) or folder.get(tokenizer)
    pieces = read_pieces(tokenizer_file, lm.text_card_out)
    layouts = pytorch.lm_layout(lm), pytorch.mimi_layout(mimi)
    files = {"lm": str(lm_file), "mimi": str(mimi_path), "tokenizer": str(tokenizer_file)}
    return SttModel(settings, *build(lm, mimi, layouts, lm_tensors, mimi_tensors, device, dtype), pieces, files)


def _load_trfs(folder: Folder, config: Fields, device: torch.device, dtype: torch.dtype | None) -> SttModel:
    tensors = Tensors.open(trfs.weight_files(folder))
    lm_tensors, mimi_tensors = trfs.split(tensors)
    lm, mimi = trfs.lm_config(config), trfs.mimi_config(config, mimi_tensors)
    pieces = read_pieces(trfs.tokenizer_file(folder), lm.text_card_out)
    layouts = trfs.lm_layout(lm), trfs.mimi_layout(mimi)
    networks = build(lm, mimi, layouts, lm_tensors, mimi_tensors, device, dtype)
    files = {"lm": tensors.where, "mimi": tensors.where, "tokenizer": str(trfs.tokenizer_file(folder))}
    return SttModel(trfs.settings(folder), *networks, pieces, files)
