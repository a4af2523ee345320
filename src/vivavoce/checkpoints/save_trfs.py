"""Writing a speech-to-text model in the layout of the -trfs repositories, which transformers opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..core import SAMPLE_RATE, TEXT_PAD, CheckpointError
from ..nn.lm import LmConfig
from ..nn.mimi import MimiConfig
from . import trfs
from .model import SttModel
from .pieces import dump
from .save import WEIGHTS, write
from .tokenizers import as_json


def save_trfs(model: SttModel, folder: Path, *, dtype: torch.dtype, tokenizer: bytes) -> None:
    """Write config.json, the weights of LM (in `dtype`) and codec (fp32) in one file, and the tokenizer.

    The layout has no VAD heads: they are left out. Raises CheckpointError for sizes that it cannot tell.
    """
    lm, mimi = model.lm.config, model.mimi.config
    values = config_json(lm, mimi, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    (folder / "tokenizer.model").write_bytes(tokenizer)
    _write(folder / "tokenizer.json", as_json(tokenizer))
    _write(folder / "preprocessor_config.json", _features(model))
    _write(folder / "generation_config.json", {"cache_implementation": "sliding_window", "pad_token_id": TEXT_PAD})
    codec = dump(model.mimi, trfs.mimi_layout(mimi), torch.float32)
    write(folder / WEIGHTS, dump(model.lm, trfs.lm_layout(lm), dtype) | codec, {"format": "pt"})
    _write(folder / "config.json", values)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False), "utf-8")


def _features(model: SttModel) -> dict[str, Any]:
    return {
        "feature_extractor_type": "KyutaiSpeechToTextFeatureExtractor",
        "audio_delay_seconds": model.config.audio_delay_seconds,
        "audio_silence_prefix_seconds": model.config.audio_silence_prefix_seconds,
        "feature_size": 1,
        "padding_value": 0.0,
        "sampling_rate": SAMPLE_RATE,
    }


def config_json(lm: LmConfig, mimi: MimiConfig, dtype: torch.dtype) -> dict[str, Any]:
    """The keys of transformers' configuration class."""
    if lm.text_card != lm.text_card_out:
        raise CheckpointError(
            f"a model that reads {lm.text_card} pieces and writes {lm.text_card_out} is not for -trfs"
        )
    rows = lm.text_card + 1 + lm.n_q * (lm.card + 1)
    return {
        "architectures": ["KyutaiSpeechToTextForConditionalGeneration"],
        "model_type": trfs.MODEL_TYPE,
        "dtype": str(dtype).removeprefix("torch."),
        "codebook_vocab_size": lm.card + 1,
        "vocab_size": lm.text_card + 1,
        "hidden_size": lm.dim,
        "head_dim": lm.dim // lm.num_heads,
        "num_hidden_layers": lm.num_layers,
        "num_attention_heads": lm.num_heads,
        "num_key_value_heads": lm.num_heads,
        "max_position_embeddings": lm.context,
        "sliding_window": lm.context,
        "rope_parameters": {"rope_type": "default", "rope_theta": lm.max_period},
        "hidden_act": "silu",
        "rms_norm_eps": 1e-8,
        "ffn_dim": 2 * lm.hidden,
        "num_codebooks": lm.n_q,
        "audio_bos_token_id": lm.card,
        "audio_pad_token_id": rows,
        "bos_token_id": lm.text_card,
        "pad_token_id": TEXT_PAD,
        "tie_word_embeddings": False,
        "codec_config": _codec_json(mimi),
    }


def _codec_json(mimi: MimiConfig) -> dict[str, Any]:
    halves = (mimi.encoder_filters, mimi.encoder_layers, mimi.kernels)
    if halves != (mimi.decoder_filters, mimi.decoder_layers, mimi.decoder_kernels or mimi.kernels):
        raise CheckpointError("the codec's halves differ in size, for which the -trfs layout has no words")
    kernel, residual, last = mimi.kernels
    return {
        "model_type": "mimi",
        "sampling_rate": SAMPLE_RATE,
        "frame_rate": SAMPLE_RATE / mimi.frame_size,
        "hidden_size": mimi.dimension,
        "num_filters": mimi.encoder_filters,
        "upsampling_ratios": list(reversed(mimi.ratios)),
        "kernel_size": kernel,
        "residual_kernel_size": residual,
        "last_kernel_size": last,
        "codebook_size": mimi.bins,
        "codebook_dim": mimi.codebook_dim,
        "vector_quantization_hidden_dimension": mimi.codebook_dim,
        "num_quantizers": mimi.codebooks,
        "num_semantic_quantizers": 1,
        "num_hidden_layers": mimi.encoder_layers,
        "intermediate_size": mimi.hidden,
        "num_attention_heads": mimi.heads,
        "num_key_value_heads": mimi.heads,
        "head_dim": mimi.dimension // mimi.heads,
        "sliding_window": mimi.context,
        "rope_parameters": {"rope_type": "default", "rope_theta": mimi.max_period},
        "upsample_groups": mimi.dimension,
    }
