"""Small text-to-speech models with random, lively weights, for tests of several rooms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sentencepiece
import torch

from vivavoce.checkpoints import TtsConfig, TtsModel
from vivavoce.core import TEXT_BOUNDARY, TEXT_PAD
from vivavoce.nn.conditions import ConditionerConfig, Conditions, ConditionsConfig
from vivavoce.nn.depformer import DepformerConfig
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.mimi import Mimi, MimiConfig

from .conftest import SMALL_MIMI, enliven, spread_codebooks

DISTILLED = ConditionsConfig(
    64,
    (
        ConditionerConfig("speaker_wavs", 12),
        ConditionerConfig("cfg", 6, 3, ("1.0", "2.0", "3.0")),
        ConditionerConfig("control", 20, 1, ("ok",)),
    ),
    added=("control", "cfg"), crossed=("speaker_wavs",), positions=True,
)  # fmt: skip
PLAIN = ConditionsConfig(64)
SMALL_SPEECH = LmConfig(
    dim=64, num_heads=4, num_layers=2, hidden=176, n_q=4, card=64, text_card=32, text_card_out=32, context=12,
    max_period=10_000.0, delays=(0, 2, 2, 2), demux=True,
    depformer=DepformerConfig(dim=32, num_heads=2, num_layers=2, hidden=88, schedule=(0, 1, 2, 2), rank=8),
)  # fmt: skip
SETTINGS = TtsConfig("small", audio_delay_seconds=0.48, second_stream_ahead=2, max_speakers=3, voice_frames=5)
MIRRORED = replace(SMALL_MIMI, decoder_filters=4, decoder_layers=2)  # moshi's decoder has the encoder's sizes


def small_tts(
    tokenizer: bytes,
    conditions: ConditionsConfig = DISTILLED,
    *,
    lm: dict[str, Any] = {},  # noqa: B006
    mimi: MimiConfig = MIRRORED,
    seed: int = 0,
    **settings: Any,
) -> TtsModel:
    """A model of the 1.6B's kind, or with `PLAIN` conditions of the 0.75B's; changes to its sizes and settings."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    size = pieces.GetPieceSize()
    base = replace(SMALL_SPEECH, text_card=size, text_card_out=size, cross_attention=bool(conditions.crossed))
    torch.manual_seed(seed)
    networks = Mimi(mimi), Lm(replace(base, **lm))
    enliven(networks[0])
    spread_codebooks(networks[0])
    speak(networks[1])
    config = replace(SETTINGS, codebooks=networks[1].config.n_q, **settings)
    conditioned = Conditions(conditions).requires_grad_(False)
    return TtsModel(config, networks[0].eval(), networks[1].eval(), conditioned, pieces)


@torch.no_grad()
def speak(lm: Lm, eager: float = 5) -> None:
    """Weights with which all codes vary, and the text head often asks for a word or for silence."""
    for name, weight in lm.named_parameters():
        if name.endswith("bias"):
            weight.normal_(0, 0.1)
        elif weight.ndim == 1:
            weight.normal_(0.6, 0.1)
        else:
            weight.normal_(0, 1.5 * weight.shape[-1] ** -0.5)
    lm.embeddings.normal_(0, 1)
    lm.embeddings[-1] = 0
    lm.text_head.weight[[TEXT_BOUNDARY, TEXT_PAD]] *= eager
    lm.requires_grad_(False)
