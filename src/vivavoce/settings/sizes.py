"""The sizes that a TOML tells of a model, held against its checkpoint, where that is on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from .errors import SettingsError
from .moshi import Asr
from .paths import on_this_machine

_LARGEST_HEADER = 100_000_000  # bytes; the format's own limit


def check_sizes(table: Asr, where: str) -> list[str]:
    """Raise SettingsError for a size that the LM's tensors contradict; a warning where its file cannot be read."""
    path = on_this_machine(table.lm_model_file)
    if path is None:
        return []
    try:
        shapes = read_shapes(path)
    except (OSError, ValueError) as error:
        return [f"{where} lm_model_file {path} is not readable safetensors ({error}); its sizes were not checked"]
    for tensor, (key, axis, claimed) in _claims(table).items():
        found = shapes[tensor][axis] if tensor in shapes else None
        if found != claimed:
            seen = "no such tensor" if found is None else f"{found}"
            raise SettingsError(f"{where} model.{key} is {claimed}, but {tensor} of the checkpoint has {seen}")
    _check_counts(table, shapes, where)
    return []


def check_config(table: Asr, config: Path, where: str) -> list[str]:
    """What only config.json knows: raise SettingsError for other heads, warn where its own value is used instead."""
    try:
        values = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError):
        return []  # the loader says what is wrong with it
    if not isinstance(values, dict):
        return []
    transformer = table.model.transformer
    heads = values.get("num_heads", transformer.num_heads)
    if heads != transformer.num_heads:
        raise SettingsError(
            f"{where} model.transformer.num_heads is {transformer.num_heads}, the checkpoint has {heads}"
        )
    return [
        f"{where} model.transformer.{key} {value} has no effect: the checkpoint's is {own}"
        for key, value in (("context", transformer.context), ("max_period", transformer.max_period))
        if (own := values.get(key, value)) != value
    ]


def _claims(table: Asr) -> dict[str, tuple[str, int, int]]:
    """Tensor to the key that tells the size of one of its axes."""
    model, width = table.model, table.model.transformer.d_model
    claims = {
        "text_emb.weight": ("text_in_vocab_size", 0, model.text_in_vocab_size),
        "text_linear.weight": ("text_out_vocab_size", 0, model.text_out_vocab_size),
        "emb.0.weight": ("audio_vocab_size", 0, model.audio_vocab_size),
        "transformer.layers.0.self_attn.out_proj.weight": ("transformer.d_model", 0, width),
    }
    if model.extra_heads is not None:
        claims["extra_heads.0.weight"] = ("extra_heads.dim", 0, model.extra_heads.dim)
    return claims


def _check_counts(table: Asr, shapes: dict[str, list[int]], where: str) -> None:
    def count(pattern: str) -> int:
        return next(n for n in range(len(shapes) + 1) if pattern.format(n) not in shapes)

    model = table.model
    layers, books, heads = (
        count(pattern) for pattern in ("transformer.layers.{}.norm1.alpha", "emb.{}.weight", "extra_heads.{}.weight")
    )
    if model.transformer.num_layers != layers:
        raise SettingsError(
            f"{where} model.transformer.num_layers is {model.transformer.num_layers}, the checkpoint has {layers}"
        )
    if model.audio_codebooks > books:
        raise SettingsError(f"{where} model.audio_codebooks is {model.audio_codebooks}, the checkpoint has {books}")
    if model.extra_heads is not None and model.extra_heads.num_heads != heads:
        raise SettingsError(
            f"{where} model.extra_heads.num_heads is {model.extra_heads.num_heads}, the checkpoint has {heads}"
        )


def read_shapes(path: Path) -> dict[str, list[int]]:
    """Tensor names and shapes of a safetensors file, from its header alone. Raises ValueError, OSError."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= min(_LARGEST_HEADER, path.stat().st_size):
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(file.read(size))
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
