"""The layout of Hugging Face transformers (`-trfs` repositories): its names, files and config.

spec/model.md §1.10, §2.9c. Everything lies in one set of safetensors shards, the codec under `codec_model.`; attention
is split into q, k and v, with the rows of q and k reordered for half-split rotary embeddings. No VAD heads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..core import CheckpointError
from ..nn.lm import LmConfig
from ..nn.mimi import MimiConfig
from . import pytorch
from .config import Fields
from .folder import Folder
from .model import SttConfig, languages
from .pieces import Layout, Parameters, Piece
from .tensors import Sizes, Tensors

MODEL_TYPE = "kyutai_speech_to_text"
CODEC = "codec_model."

_LM_NAMES = {
    r"^out_norm\.alpha": "model.norm.weight",
    r"^transformer\.": "model.",
    r"norm1\.alpha": "input_layernorm.weight",
    r"norm2\.alpha": "post_attention_layernorm.weight",
    r"gating\.linear_in": "mlp.fc1",
    r"gating\.linear_out": "mlp.fc2",
    r"out_proj": "o_proj.linear",
    r"in_proj_weight": "{}_proj.linear.weight",
}
_MIMI_NAMES = {
    r"coder\.model": "coder.layers",
    r"(\.conv|\.convtr)+\.(?=weight|bias)": ".conv.",
    r"transformer\.transformer": "transformer",
    r"linear1": "mlp.fc1",
    r"linear2": "mlp.fc2",
    r"norm1": "input_layernorm",
    r"norm2": "post_attention_layernorm",
    r"layer_scale_1": "self_attn_layer_scale",
    r"layer_scale_2": "mlp_layer_scale",
    r"out_proj": "o_proj",
    r"in_proj_weight": "{}_proj.weight",
    r"rvq_first(\.vq)?": "semantic_residual_vector_quantizer",
    r"rvq_rest(\.vq)?": "acoustic_residual_vector_quantizer",
    r"_codebook": "codebook",
    r"_initialized": "initialized",
    r"embedding_sum": "embed_sum",
    r"^": CODEC,
}


def _renamed(name: str, table: Mapping[str, str]) -> str:
    for pattern, new in table.items():
        name = re.sub(pattern, new, name)
    return name


def _lm_name(name: str) -> str:
    return _renamed(name, _LM_NAMES)


def _mimi_name(name: str) -> str:
    return _renamed(name, _MIMI_NAMES)


def lm_layout(config: LmConfig) -> Layout:
    def pieces(ours: Parameters) -> Iterator[Piece]:
        yield Piece.of("model.embed_tokens.embed_tokens.weight", ours["embeddings"])  # the same table, zero row and all
        # One row more than we keep: the start token, which is never predicted.
        yield replace(Piece.of("lm_head.weight", ours["text_head.weight"]), shape=(config.text_card + 1, config.dim))
        for piece in pytorch.lm_layout(config)(ours):
            if piece.name.startswith("transformer.") or piece.name == "out_norm.alpha":
                yield from _translated(piece, _lm_name(piece.name), config.num_heads)

    return pieces


def mimi_layout(config: MimiConfig) -> Layout:
    def pieces(ours: Parameters) -> Iterator[Piece]:
        for piece in pytorch.mimi_layout(config)(ours):
            yield from _translated(piece.renamed(_mimi_name), _mimi_name(piece.name), config.heads)

    return pieces


def _translated(piece: Piece, name: str, heads: int) -> Iterator[Piece]:
    """A piece under its name here; a fused projection as its three parts, a norm's [1, 1, d] as [d]."""
    if "{}" in name:
        for letter, rows in zip("qkv", piece.ours.chunk(3), strict=True):
            view = rows if letter == "v" else rows.view(heads, -1, 2, rows.shape[1]).transpose(1, 2)
            yield Piece(name.format(letter), view, tuple(rows.shape))
    else:
        squeezed = piece.shape[2:] if piece.name.endswith(".alpha") else piece.shape
        yield replace(piece, name=name, shape=squeezed)


def split(tensors: Tensors) -> tuple[Tensors, Tensors]:
    """The tensors of the LM and those of the codec."""
    lm = tensors.select(lambda name: None if name.startswith(CODEC) else name)
    return lm, tensors.select(lambda name: name if name.startswith(CODEC) else None)


def lm_config(config: Fields) -> LmConfig:
    """Sizes from config.json; defaults are those of transformers' configuration class."""
    config.demand("hidden_act", "silu")
    heads = config.integer("num_attention_heads", 32)
    config.demand("num_key_value_heads", heads)
    config.demand("rms_norm_eps", 1e-8)
    text_card = config.integer("vocab_size", 4001) - 1
    return LmConfig(
        dim=config.integer("hidden_size", 2048),
        num_heads=heads,
        num_layers=config.integer("num_hidden_layers", 48),
        hidden=config.integer("ffn_dim", 11264) // 2,
        n_q=config.integer("num_codebooks", 32),
        card=config.integer("codebook_vocab_size", 2049) - 1,
        text_card=text_card,
        text_card_out=text_card,
        context=config.integer("sliding_window", 375),
        max_period=_rope(config, 100_000.0),
    )


def mimi_config(config: Fields, tensors: Tensors) -> MimiConfig:
    codec = config.section("codec_config")
    attention = {
        "heads": codec.integer("num_attention_heads", 8),
        "context": codec.integer("sliding_window", 250),
        "max_period": _rope(codec, 10_000.0),
    }
    return pytorch.mimi_config(Sizes(tensors, _mimi_name), attention)


def _rope(config: Fields, default: float) -> float:
    """`rope_theta`, since transformers 5 inside `rope_parameters`."""
    parameters = config.section("rope_parameters")
    parameters.demand("rope_type", "default")
    return parameters.number("rope_theta", config.number("rope_theta", default))


def weight_files(folder: Folder) -> list[Path]:
    """model.safetensors, or the shards that its index lists."""
    if folder.weights is not None and not folder.weights.endswith(".index.json"):
        return [folder.get(folder.weights)]
    index = folder.find("model.safetensors.index.json")
    if index is None:
        return [folder.get("model.safetensors")]
    shards = Fields.read(index).section("weight_map").values.values()
    if not shards:
        raise CheckpointError(f"{index}: weight_map is missing")
    return [folder.get(str(shard)) for shard in sorted(set(shards))]


def tokenizer_file(folder: Folder) -> Path:
    """tokenizer.json is what the converter writes; a sentencepiece file is read as well."""
    return folder.find("tokenizer.json") or folder.get("tokenizer.model")


def settings(folder: Folder) -> SttConfig:
    """The delays are the feature extractor's, in preprocessor_config.json or, newer, in processor_config.json."""
    path = folder.find("preprocessor_config.json")
    audio = Fields.read(path) if path else Fields.read(folder.get("processor_config.json")).section("feature_extractor")
    return SttConfig(
        name=folder.name,
        audio_delay_seconds=audio.number("audio_delay_seconds"),
        audio_silence_prefix_seconds=audio.number("audio_silence_prefix_seconds", 0.0),
        languages=languages(folder.name),
    )
