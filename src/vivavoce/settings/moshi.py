"""The tables of moshi-server's TOML files, of Kyutai's and of the fork (spec/moshi-server.md §2).

Strict about kinds, as the reference is; unknown keys are kept aside, to be warned of by name.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class Table(BaseModel):
    """Integers count as floats, nothing else is converted."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    def unknown(self) -> list[str]:
        """Dotted names of the keys that no table of the reference has."""
        names = list(self.model_extra or {})
        for key in type(self).model_fields:
            value = getattr(self, key)
            inner = value.items() if isinstance(value, dict) else [("", value)]
            for label, table in inner:
                if isinstance(table, Table):
                    names += [f"{key}.{label}.{name}".replace("..", ".") for name in table.unknown()]
        return names


class Transformer(Table):
    d_model: int
    num_heads: int
    num_layers: int
    dim_feedforward: int
    causal: bool
    norm_first: bool
    bias_ff: bool
    bias_attn: bool
    context: int
    max_period: float
    max_seq_len: int
    use_conv_block: bool
    use_conv_bias: bool
    conv_kernel_size: int
    conv_layout: bool
    kv_repeat: int
    norm: Literal["RmsNorm", "LayerNorm"]
    positional_embedding: Literal["Rope", "Sin", "None"]
    layer_scale: float | None = None
    gating: str | None = None
    cross_attention: list[Any] | None = None
    shared_cross_attn: bool = False
    head_dim: int | None = None  # this and the next two: the fork's
    gating_idx: int | None = None
    shared_cross_attn_heads: int | None = None


class Depformer(Table):
    transformer: Transformer
    num_slices: int
    low_rank_embeddings: int | None = None


class ExtraHeads(Table):
    num_heads: int
    dim: int


class Lut(Table):
    type: Literal["Lut"]
    n_bins: int
    dim: int
    possible_values: list[str]


class ContinuousAttribute(Table):
    type: Literal["ContinuousAttribute"]
    dim: int
    scale_factor: float
    max_period: float


class Model(Table):
    audio_vocab_size: int = Field(ge=1)
    text_in_vocab_size: int = Field(ge=1)
    text_out_vocab_size: int = Field(ge=1)
    audio_codebooks: int = Field(ge=1)
    transformer: Transformer
    depformer: Depformer | None = None
    extra_heads: ExtraHeads | None = None
    conditioners: dict[str, Annotated[Lut | ContinuousAttribute, Field(discriminator="type")]] | None = None


class Asr(Table):
    path: str
    lm_model_file: str
    text_tokenizer_file: str
    audio_tokenizer_file: str
    model: Model
    asr_delay_in_tokens: int = Field(ge=0)
    conditioning_delay: float | None = None
    conditioning_learnt_padding: bool = False
    temperature: float = 0.0
    dtype_override: str | None = None
    log_frequency_s: float | None = None


class BatchedAsr(Asr):
    batch_size: int = Field(ge=1)


class Scripted(Table):
    """Run by a Python script inside moshi-server: its own, whose keys are known, or the user's."""

    PY: ClassVar[frozenset[str]] = frozenset()
    path: str
    script: str | None = None
    py: dict[str, Any] | None = None

    def unknown(self) -> list[str]:
        own = [] if self.script else [f"py.{key}" for key in self.py or {} if key not in self.PY]
        return super().unknown() + own


_PLACES = {"log_folder", "hf_repo", "mimi_weight", "config_path", "device"}
_MODEL = _PLACES | {"moshi_weight", "tokenizer", "temp", "debug"}


class PyBatchedAsr(Scripted):
    PY = frozenset(_MODEL | {"asr_delay_in_tokens"})
    batch_size: int
    text_tokenizer_file: str
    asr_delay_in_tokens: int


class Py(Scripted):
    PY = frozenset(
        _MODEL
        | {"n_q", "voice_folder", "default_voice", "cfg_coef", "interleaved_text_only"}
        | {"max_padding", "initial_padding", "final_padding", "padding_between", "padding_bonus"}
    )
    batch_size: int
    text_tokenizer_file: str
    text_bos_token: int


class PyPost(Scripted):
    PY = frozenset(_PLACES | {"dry_fraction", "num_cpu_threads"})


class TtsGeneration(Table):
    acoustic_delay: int
    text_pad_token: int
    text_bos_token: int
    text_eos_token: int
    text_eop_token: int
    text_start_token: int
    text_audio_delay_in_tokens: int
    max_consecutive_pads: int
    extra_steps: int
    speaker_cond_duration_s: float
    speaker_cond_dim: int
    speaker_cond_n_speakers: int


class Tts(Table):
    path: str
    lm_model_file: str
    text_tokenizer_file: str
    speaker_tokenizer_file: str
    audio_tokenizer_file: str
    voices: dict[str, str]
    voice_dir: str
    model: Model
    generation: TtsGeneration
    dtype_override: str | None = None
    log_tokens: bool = False  # the fork's


class LmGeneration(Table):
    generated_audio_codebooks: int
    input_audio_codebooks: int
    audio_vocab_size: int
    acoustic_delay: int
    text_pad_token: int
    text_eop_token: int
    text_start_token: int


class Lm(Table):
    path: str
    lm_model_file: str
    text_tokenizer_file: str
    audio_tokenizer_file: str
    model: Model
    gen: LmGeneration
    dtype_override: str | None = None


class Mimi(Table):
    send_path: str
    recv_path: str
    audio_tokenizer_file: str
    auth_recv: bool
    rooms: list[str]
    default_room: str | None = None


TYPES: dict[str, type[Table]] = {
    kind.__name__: kind for kind in (Asr, BatchedAsr, PyBatchedAsr, Py, PyPost, Tts, Lm, Mimi)
}
