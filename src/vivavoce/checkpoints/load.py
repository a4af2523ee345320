"""From a checkpoint of any released layout to networks that can step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..core import CheckpointError, UnsupportedError
from ..nn.lm import Lm, LmConfig
from ..nn.mimi import Mimi, MimiConfig
from ..settings import locate
from . import pytorch, trfs
from .config import Fields
from .folder import Folder, HubFolder, open_folder
from .model import SttConfig, SttModel, languages
from .pieces import Layout, fill
from .random import RANDOM, random_stt
from .tensors import Sizes, Tensors
from .vocabulary import read_pieces

LARGE = 100_000_000  # numbers in an LM, above which a CPU too keeps 16-bit weights
_DTYPE_NAMES = {
    **dict.fromkeys(("float32", "fp32", "f32"), torch.float32),
    **dict.fromkeys(("float16", "fp16", "f16", "half"), torch.float16),
    **dict.fromkeys(("bfloat16", "bf16"), torch.bfloat16),
}


@dataclass(frozen=True)
class Instead:
    """What is taken instead of the model's own: files, each a path or `hf://owner/name/file`, and fewer codebooks.

    Only for the PyTorch and candle layouts: a -trfs folder is one file.
    """

    lm: str | None = None
    mimi: str | None = None
    tokenizer: str | None = None
    codebooks: int | None = None  # how many of those that the LM was trained with it hears


def load_stt(
    source: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: str | torch.dtype | None = None,
    instead: Instead = Instead(),
) -> SttModel:
    """Load a speech-to-text model.

    `source`: a folder; its config.json or weights file; `owner/name`, `hf://owner/name`, either with `@revision`, or
    `hf://owner/name/file` on the hub; the name of an embedded model; None for the embedded default; `random:stt-1b` for
    noise of that shape (checkpoints/random.py).
    `device`: a torch device, or "auto" for CUDA where there is one.
    `dtype` of the LM: by default the file's, but fp32 for small models on the CPU. The codec is always fp32.
    `instead`: single files and the number of codebooks that replace the model's own.

    Raises CheckpointError (the files), DownloadError (the hub), UnsupportedError (the device).
    """
    target, wanted = _device(device), None if dtype is None else _dtype(dtype)
    if isinstance(source, str) and source.startswith(RANDOM):
        return random_stt(source.removeprefix(RANDOM), target, wanted)
    folder = open_folder(source)
    if isinstance(folder, HubFolder):
        folder = folder.pinned()
    config = Fields.read(folder.get("config.json"))
    if config.values.get("model_type") == trfs.MODEL_TYPE:
        if instead != Instead():
            raise UnsupportedError(f"{folder.name}: a -trfs model is one file, of which no part can be replaced")
        return _load_trfs(folder, config, target, wanted)
    return _load_pytorch(folder, config, target, wanted, instead)


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
    lm_file = _file(instead.lm) or folder.get(folder.weights or config.text("moshi_name", "model.safetensors"))
    mimi_path = _file(instead.mimi) or folder.get(config.text("mimi_name"))
    lm_tensors, mimi_tensors = Tensors.open([lm_file]), Tensors.open([mimi_path])
    lm = pytorch.lm_config(config, Sizes(lm_tensors))
    if instead.codebooks is not None:
        lm, lm_tensors = pytorch.hear_fewer(lm, lm_tensors, instead.codebooks)
    mimi_file = config.text("mimi_config_name", "")
    attention = pytorch.mimi_attention(config, Fields.read(folder.get(mimi_file)) if mimi_file else None)
    mimi = pytorch.mimi_config(Sizes(mimi_tensors), attention)
    tokenizer_file = _file(instead.tokenizer) or folder.get(tokenizer)
    pieces = read_pieces(tokenizer_file, lm.text_card_out)
    layouts = pytorch.lm_layout(lm), pytorch.mimi_layout(mimi)
    files = {"lm": str(lm_file), "mimi": str(mimi_path), "tokenizer": str(tokenizer_file)}
    return SttModel(settings, *_build(lm, mimi, layouts, lm_tensors, mimi_tensors, device, dtype), pieces, files)


def _file(source: str | None) -> Path | None:
    """The local path of one file, a path or `hf://owner/name/file`."""
    if source is None:
        return None
    where = locate(source)
    if where.file is None:
        raise CheckpointError(f"{source}: expected a file, found a folder or repository")
    return open_folder(source).get(where.file)


def _load_trfs(folder: Folder, config: Fields, device: torch.device, dtype: torch.dtype | None) -> SttModel:
    tensors = Tensors.open(trfs.weight_files(folder))
    lm_tensors, mimi_tensors = trfs.split(tensors)
    lm, mimi = trfs.lm_config(config), trfs.mimi_config(config, mimi_tensors)
    pieces = read_pieces(trfs.tokenizer_file(folder), lm.text_card_out)
    layouts = trfs.lm_layout(lm), trfs.mimi_layout(mimi)
    networks = _build(lm, mimi, layouts, lm_tensors, mimi_tensors, device, dtype)
    files = {"lm": tensors.where, "mimi": tensors.where, "tokenizer": str(trfs.tokenizer_file(folder))}
    return SttModel(trfs.settings(folder), *networks, pieces, files)


def _build(
    lm: LmConfig,
    mimi: MimiConfig,
    layouts: tuple[Layout, Layout],
    lm_tensors: Tensors,
    mimi_tensors: Tensors,
    device: torch.device,
    dtype: torch.dtype | None,
) -> tuple[Mimi, Lm]:
    _check_codec_fits(lm, mimi, mimi_tensors.where)
    for tensors, dim, heads in (lm_tensors, lm.dim, lm.num_heads), (mimi_tensors, mimi.dimension, mimi.heads):
        if heads < 1 or dim % (2 * heads):  # rotary embeddings need an even width each
            raise CheckpointError(f"{tensors.where}: a width of {dim} cannot have num_heads {heads}")
    with torch.device("meta"):
        empty_lm, empty_mimi = Lm(lm), Mimi(mimi)
    chosen = dtype or _default_dtype(lm_tensors, device)
    return (
        fill(empty_mimi, layouts[1], mimi_tensors, device, torch.float32),
        fill(empty_lm, layouts[0], lm_tensors, device, chosen),
    )


def _check_codec_fits(lm: LmConfig, mimi: MimiConfig, where: str) -> None:
    if lm.n_q > mimi.codebooks:
        raise CheckpointError(f"{where}: the codec has {mimi.codebooks} codebooks, the LM needs {lm.n_q}")
    if lm.card != mimi.bins:
        raise CheckpointError(f"{where}: the codec has {mimi.bins} codes a codebook, the LM hears {lm.card}")


def _default_dtype(tensors: Tensors, device: torch.device) -> torch.dtype:
    if device.type != "cpu":
        return tensors.dtype
    if tensors.elements < LARGE or tensors.dtype in (torch.float32, torch.float64):
        return torch.float32
    return torch.bfloat16  # also for fp16 files: CPUs have no fast fp16


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UnsupportedError(f"device {name!r} cannot be used: {reason}") from error
    return device


def _dtype(value: str | torch.dtype) -> torch.dtype:
    dtype = _DTYPE_NAMES.get(value.lower()) if isinstance(value, str) else value
    if dtype not in _DTYPE_NAMES.values():
        raise UnsupportedError(f"dtype {value!r} is not one of float32, float16, bfloat16")
    assert dtype is not None
    return dtype
