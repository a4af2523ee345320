"""Models from one layout and precision to another, whole folders or single files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from vivavoce.checkpoints import SttModel, TtsModel, load_stt, load_tts, save_stt, save_tts
from vivavoce.checkpoints.assembly import file_of
from vivavoce.checkpoints.config import Fields
from vivavoce.checkpoints.folder import open_pinned
from vivavoce.checkpoints.save_trfs import config_json, save_trfs
from vivavoce.checkpoints.tokenizers import as_sentencepiece
from vivavoce.core import UnsupportedError

from .cast import Range, cast_file, examine
from .gpus import Found
from .moshi_config import moshi_config

Layout = Literal["pytorch", "candle", "trfs"]
CONFIG, MOSHI = "serve.toml", "moshi-server.toml"
SLOTS = 4  # of the small GPUs that need float16, as in the fork's preset


@dataclass(frozen=True)
class Converted:
    """What was written, or would be."""

    target: str
    layout: str | None  # None: a single file
    dtype: str
    range: Range
    lost: tuple[str, ...]  # what the layout has no words for
    written: bool
    config: str | None = None  # of a server


def needed(found: Found, *, force: bool, skip_when_undetected: bool) -> tuple[bool, str]:
    """Whether float16 weights should be made for these GPUs, and why."""
    old = [gpu.name for gpu in found.gpus if gpu.pre_ampere]
    if force:
        return True, "asked for"
    if old:
        return True, f"{old[0]} is older than Ampere"
    if found.gpus:
        return False, f"{found.gpus[0].name} has bfloat16"
    return not skip_when_undetected, "no GPU was found"


def convert_file(source: str, target: Path, dtype: torch.dtype, *, dry: bool = False) -> Converted:
    """One safetensors file, a path or hf://owner/name/file. Raises CheckpointError, UnsupportedError."""
    _must_be_new(target)
    found = file_of(source)
    assert found is not None
    report = cast_file(found, None if dry else target, dtype)
    return Converted(str(target), None, _name(dtype), report, (), not dry)


def convert_model(
    source: str, target: Path, layout: Layout, dtype: torch.dtype | None, *, serve: bool = False, dry: bool = False
) -> Converted:
    """A whole model into a new folder, which appears when everything is in it.

    `dtype` None keeps the file's. `serve` adds a config of a server for it. Raises CheckpointError, DownloadError,
    UnsupportedError.
    """
    _must_be_new(target)
    speaks = Fields.read(open_pinned(source).get("config.json")).values.get("model_type") == "tts"
    model = (load_tts if speaks else load_stt)(source, device="meta")
    kept = dtype or model.lm.embeddings.dtype
    lost = _lost(model, layout, kept)
    loaded = (load_tts if speaks else load_stt)(source, device="cpu", dtype=model.lm.embeddings.dtype)
    report = examine(dict(loaded.lm.named_parameters()), kept)
    report.refuse_overflow()
    config = str(target / CONFIG) if serve else None
    if not dry:
        _whole(target, lambda folder: _save(loaded, folder, target, layout, kept, serve))
    return Converted(str(target), layout, _name(kept), report, lost, not dry, config)


def _lost(model: SttModel | TtsModel, layout: Layout, dtype: torch.dtype) -> tuple[str, ...]:
    if isinstance(model, TtsModel):
        if layout != "pytorch":
            raise UnsupportedError(f"{model.config.name} speaks; such models have no {layout} layout")
        return ()
    if layout != "trfs":
        return ()
    config_json(model.lm.config, model.mimi.config, dtype)  # may refuse
    heads = model.lm.config.extra_heads
    return (f"{heads} VAD heads",) if heads else ()


def _save(
    model: SttModel | TtsModel, folder: Path, target: Path, layout: Layout, dtype: torch.dtype, serve: bool
) -> None:
    if isinstance(model, TtsModel):
        save_tts(model, folder, dtype=dtype)
    else:
        tokenizer = as_sentencepiece(Path(model.files["tokenizer"]))
        if layout == "trfs":
            save_trfs(model, folder, dtype=dtype, tokenizer=tokenizer)
        else:
            save_stt(model, folder, dtype=dtype, tokenizer=tokenizer)
        if layout == "candle":
            (folder / MOSHI).write_text(moshi_config(model, target.absolute(), dtype), "utf-8")
    if serve:
        (folder / CONFIG).write_text(serve_config(model, target.absolute(), dtype), "utf-8")


def serve_config(model: SttModel | TtsModel, folder: Path, dtype: torch.dtype) -> str:
    """For `vivavoce serve --config`."""
    prefix = "tts_" if isinstance(model, TtsModel) else ""
    lines = [f'{prefix}model = "{folder.as_posix()}"', f'dtype = "{_name(dtype)}"', f"{prefix}slots = {SLOTS}"]
    if prefix:
        lines.insert(0, 'model = "none"')
    return f"# {model.config.name} for a GPU without bfloat16.\n" + "\n".join(lines) + "\n"


def _must_be_new(target: Path) -> None:
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise UnsupportedError(f"{target} exists already: remove it, or name another")


def _whole(target: Path, save: Callable[[Path], None]) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        save(part)
        if target.exists():
            target.rmdir()  # it is empty
        part.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def as_json(done: Converted) -> dict[str, Any]:
    return {**vars(done), "range": done.range.as_json()}
