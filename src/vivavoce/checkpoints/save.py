"""Writing a model in the PyTorch layout, which the reference package reads too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..core import FRAME_RATE, SAMPLE_RATE, CheckpointError
from ..nn.lm import LmConfig
from ..nn.mimi import MimiConfig
from .model import SttConfig, SttModel
from .pieces import dump
from .pytorch import lm_layout, mimi_layout
from .vocabulary import read_pieces

WEIGHTS, MIMI, MIMI_CONFIG, TOKENIZER = "model.safetensors", "mimi.safetensors", "mimi.json", "tokenizer.model"


def save_stt(model: SttModel, folder: str | Path, *, dtype: torch.dtype = torch.bfloat16, tokenizer: bytes) -> None:
    """Write config.json, the LM's weights in `dtype`, the codec's in fp32, and the sentencepiece `tokenizer`.

    mimi.json is the reference's description of the codec, so that `moshi` opens a codec of any size as well, as long
    as encoder and decoder are alike. Raises CheckpointError when the tokenizer does not fit; config.json comes last,
    so an interrupted save leaves no folder that looks whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    (folder / TOKENIZER).write_bytes(tokenizer)
    if read_pieces(folder / TOKENIZER, model.lm.config.text_card_out) != model.pieces:
        raise CheckpointError(f"{folder / TOKENIZER}: the tokenizer's pieces are not the model's")
    write(folder / WEIGHTS, dump(model.lm, lm_layout(model.lm.config), dtype))
    write(folder / MIMI, dump(model.mimi, mimi_layout(model.mimi.config), torch.float32))
    (folder / MIMI_CONFIG).write_text(json.dumps(mimi_json(model.mimi.config), indent=2))
    (folder / "config.json").write_text(json.dumps(config_json(model.config, model.lm.config), indent=2))


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, whole or not at all."""
    part = path.with_suffix(".part")  # a file that is mapped by a loaded model must not change under it
    save_file(tensors, part, metadata)
    part.replace(path)


def config_json(config: SttConfig, lm: LmConfig) -> dict[str, Any]:
    """The released key set (spec/model.md §6). Keys of our own stay inside stt_config, which the reference ignores."""
    return {
        **lm_json(lm),
        "dep_q": 0,
        "delays": [0] * (lm.n_q + 1),
        **_depformer_json(),
        "conditioners": {},
        "cross_attention": False,
        "extra_heads_num_heads": lm.extra_heads,
        "extra_heads_dim": lm.extra_heads_dim,
        "lm_gen_config": {"temp": 0.0, "temp_text": config.temperature, "top_k": 250, "top_k_text": 50},
        "stt_config": {
            "audio_delay_seconds": config.audio_delay_seconds,
            "audio_silence_prefix_seconds": config.audio_silence_prefix_seconds,
            "languages": list(config.languages),
            "vad_head": config.vad_head,
        },
        "model_type": "stt",
        "mimi_name": MIMI,
        "mimi_config_name": MIMI_CONFIG,
        "tokenizer_name": TOKENIZER,
    }


def lm_json(lm: LmConfig) -> dict[str, Any]:
    """The keys that every model has."""
    return {
        "card": lm.card,
        "n_q": lm.n_q,
        "dim": lm.dim,
        "text_card": lm.text_card,
        **({} if lm.text_card_out == lm.text_card else {"text_card_out": lm.text_card_out}),
        "existing_text_padding_id": 3,
        "num_heads": lm.num_heads,
        "num_layers": lm.num_layers,
        "hidden_scale": hidden_scale(lm.dim, lm.hidden),
        "causal": True,
        "layer_scale": None,
        "context": lm.context,
        "max_period": lm.max_period,
        "gating": "silu",
        "norm": "rms_norm_f32",
        "positional_embedding": "rope",
    }


def _depformer_json() -> dict[str, Any]:
    """Inert without audio output, but the reference's constructor asks for them."""
    return {
        "depformer_dim": 1024,
        "depformer_num_heads": 16,
        "depformer_num_layers": 6,
        "depformer_dim_feedforward": None,
        "depformer_multi_linear": True,
        "depformer_pos_emb": "none",
        "depformer_weights_per_step": True,
    }


def hidden_scale(dim: int, hidden: int) -> float:
    """The config value from which the reference computes this feed-forward width (spec/model.md §2.1, two rules)."""
    if hidden == 21 * dim // 8:
        return 4.0
    widths = range(3 * hidden // 2, 3 * hidden // 2 + 3)
    for scale in ((width + fraction) / dim for width in widths for fraction in (0, 0.5)):  # a half survives rounding
        if int(scale * dim) != 4 * dim and 2 * int(scale * dim) // 3 == hidden:
            return scale
    raise CheckpointError(f"a feed-forward width of {hidden} at dimension {dim} cannot be written in this layout")


def mimi_json(config: MimiConfig) -> dict[str, Any]:
    """The codec in the words of the reference's constructor; its decoder is the encoder's mirror."""
    kernel, residual, last = config.kernels
    transformer = {
        "d_model": config.dimension,
        "num_heads": config.heads,
        "num_layers": config.encoder_layers,
        "causal": True,
        "layer_scale": 0.01,
        "context": config.context,
        "conv_layout": True,
        "max_period": config.max_period,
        "gating": "none",
        "norm": "layer_norm",
        "positional_embedding": "rope",
        "dim_feedforward": config.hidden,
        "input_dimension": config.dimension,
        "output_dimensions": [config.dimension],
    }
    seanet = {
        "channels": 1,
        "dimension": config.dimension,
        "causal": True,
        "n_filters": config.encoder_filters,
        "n_residual_layers": 1,
        "activation": "ELU",
        "compress": 2,
        "dilation_base": 2,
        "disable_norm_outer_blocks": 0,
        "kernel_size": kernel,
        "residual_kernel_size": residual,
        "last_kernel_size": last,
        "norm": "none",
        "pad_mode": "constant",
        "ratios": list(reversed(config.ratios)),
        "true_skip": True,
    }
    quantizer = {
        "dimension": config.codebook_dim,
        "n_q": config.codebooks,
        "bins": config.bins,
        "input_dimension": config.dimension,
        "output_dimension": config.dimension,
    }
    rates = {"sample_rate": SAMPLE_RATE, "channels": 1, "frame_rate": FRAME_RATE}
    return {**rates, "seanet": seanet, "quantizer": quantizer, "transformer": transformer}
