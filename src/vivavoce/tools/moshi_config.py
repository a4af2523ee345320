"""The TOML with which moshi-server, or we, serve a model that was converted."""

from __future__ import annotations

from pathlib import Path

import torch

from vivavoce.checkpoints import SttModel
from vivavoce.checkpoints.save import MIMI, TOKENIZER, WEIGHTS, hidden_scale
from vivavoce.core import FRAME_RATE

_DTYPES = {torch.bfloat16: "bf16", torch.float16: "f16", torch.float32: "f32"}


def moshi_config(model: SttModel, folder: Path, dtype: torch.dtype, slots: int = 16) -> str:
    """Module BatchedAsr at /api/asr-streaming; sizes are the model's."""
    lm, at = model.lm.config, folder.as_posix()
    heads = f"\n[modules.asr.model.extra_heads]\nnum_heads = {lm.extra_heads}\ndim = {lm.extra_heads_dim}\n"
    return f"""\
instance_name = "vivavoce"
static_dir = "./static/"
log_dir = "./logs"

[modules.asr]
type = "BatchedAsr"
path = "/api/asr-streaming"
lm_model_file = "{at}/{WEIGHTS}"
text_tokenizer_file = "{at}/{TOKENIZER}"
audio_tokenizer_file = "{at}/{MIMI}"
asr_delay_in_tokens = {round(model.config.audio_delay_seconds * FRAME_RATE)}
batch_size = {slots}
conditioning_learnt_padding = true
temperature = {float(model.config.temperature)}
dtype_override = "{_DTYPES[dtype]}"

[modules.asr.model]
audio_vocab_size = {lm.card + 1}
text_in_vocab_size = {lm.text_card + 1}
text_out_vocab_size = {lm.text_card_out}
audio_codebooks = {lm.n_q}

[modules.asr.model.transformer]
d_model = {lm.dim}
num_heads = {lm.num_heads}
num_layers = {lm.num_layers}
dim_feedforward = {int(hidden_scale(lm.dim, lm.hidden) * lm.dim)}
causal = true
norm_first = true
bias_ff = false
bias_attn = false
context = {lm.context}
max_period = {lm.max_period}
use_conv_block = false
use_conv_bias = true
gating = "silu"
norm = "RmsNorm"
positional_embedding = "Rope"
conv_layout = false
conv_kernel_size = 3
kv_repeat = 1
max_seq_len = 40960
{heads if lm.extra_heads else ""}"""
