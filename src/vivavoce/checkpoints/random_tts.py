"""Speaking networks of released shapes with noise for weights."""

from __future__ import annotations

import io
import string
from dataclasses import dataclass

import sentencepiece
import torch

from ..core import UnsupportedError
from ..nn.conditions import ConditionerConfig, Conditions, ConditionsConfig
from ..nn.depformer import DepformerConfig
from ..nn.lm import Lm, LmConfig
from ..nn.mimi import Mimi, MimiConfig
from .random import RANDOM, SHAPES, noisy
from .tts_model import CONTROL, GUIDANCE, SPEAKERS, TtsConfig, TtsModel


@dataclass(frozen=True)
class Shape:
    """Sizes of all parts."""

    mimi: MimiConfig
    lm: LmConfig
    conditions: ConditionsConfig
    settings: TtsConfig


_REAL_MIMI = SHAPES["stt-1b"][0]
_STRENGTHS = ("1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0")
_LARGE = Shape(
    _REAL_MIMI,
    LmConfig(
        2048, 16, 16, 5632, 32, 2048, 8000, 8000, 500, 10_000.0,
        depformer=DepformerConfig(1024, 16, 4, 2048, (*range(8), *(8,) * 8, *(9,) * 8, *(10,) * 8), 128),
        delays=(0, *(2,) * 31), demux=True, cross_attention=True,
    ),
    ConditionsConfig(
        2048,
        (
            ConditionerConfig(SPEAKERS, 512),
            ConditionerConfig(GUIDANCE, 16, 7, _STRENGTHS),
            ConditionerConfig(CONTROL, 2048, 1, ("ok",)),
        ),
        added=(CONTROL, GUIDANCE), crossed=(SPEAKERS,), positions=True,
    ),
    TtsConfig("random-tts-1.6b", 1.28, 2, voice_suffix=".random@0.safetensors"),
)  # fmt: skip
_SMALL = Shape(  # config.json as third parties tell it; its schedule is assumed to be the first half of the other
    _REAL_MIMI,
    LmConfig(
        1024, 16, 24, 2816, 16, 2048, 8000, 5, 500, 10_000.0,
        depformer=DepformerConfig(1024, 16, 4, 2048, (*range(8), *(8,) * 8), 128),
        delays=(0, *(2,) * 15), demux=True,
    ),
    ConditionsConfig(1024),
    TtsConfig("random-tts-0.75b", 1.28, 2, codebooks=16),
)  # fmt: skip
_TINY = Shape(
    SHAPES["embedded"][0],
    LmConfig(
        256, 4, 4, 704, 16, 512, 120, 120, 125, 10_000.0,
        depformer=DepformerConfig(128, 4, 2, 352, (*range(8), *(8,) * 8), 32),
        delays=(0, *(2,) * 15), demux=True, cross_attention=True,
    ),
    ConditionsConfig(
        256, (ConditionerConfig(SPEAKERS, 64), ConditionerConfig(GUIDANCE, 16, 7, _STRENGTHS)),
        added=(GUIDANCE,), crossed=(SPEAKERS,), positions=True,
    ),
    TtsConfig("random-tts-tiny", 1.28, 2, codebooks=16, max_speakers=2, voice_suffix=".random@0.safetensors"),
)  # fmt: skip
TTS_SHAPES = {"tts-tiny": _TINY, "tts-0.75b": _SMALL, "tts-1.6b": _LARGE}


def random_tts(shape: str, device: torch.device, dtype: torch.dtype | None = None) -> TtsModel:
    """A model that babbles at the pace of a real one; the LM is bfloat16 unless it is small.

    Raises UnsupportedError for a shape without a name.
    """
    if shape not in TTS_SHAPES:
        raise UnsupportedError(f"{RANDOM}{shape} is not one of {', '.join(RANDOM + name for name in TTS_SHAPES)}")
    sizes = TTS_SHAPES[shape]
    with torch.device("meta"):
        mimi, lm, conditions = Mimi(sizes.mimi), Lm(sizes.lm), Conditions(sizes.conditions)
    lm = lm.to(dtype or (torch.float32 if shape == "tts-tiny" else torch.bfloat16))
    networks = noisy(mimi).to(device), noisy(lm).to(device), noisy(conditions).to(device)
    networks[1].embeddings[-1] = 0
    return TtsModel(sizes.settings, *networks, _letters(sizes.lm.text_card))


def _letters(size: int) -> sentencepiece.SentencePieceProcessor:
    """A tokenizer whose pieces are letters, and symbols that no text has: noise pronounces them all alike."""
    target, letters = io.BytesIO(), string.ascii_letters + string.digits + string.punctuation
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([letters] * 4), model_writer=target, model_type="char", vocab_size=size, pad_id=3,
        user_defined_symbols=[f"<<{i}>>" for i in range(size - len(letters) - 5)], minloglevel=2,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=target.getvalue())
