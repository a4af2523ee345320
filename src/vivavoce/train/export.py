"""From a training run to a model in the released layout."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece
import torch

from vivavoce.checkpoints import SttConfig, SttModel, save_stt

from .joint import Joint
from .run import DELAY_STEPS, PIECES, new_model

NAME = "stt-digits-en"


def model_of(joint: Joint) -> SttModel:
    """The trained modules as a loadable model; the joint's own modules, not copies."""
    joint.fill_embeddings()
    config = SttConfig(
        name=NAME,
        audio_delay_seconds=DELAY_STEPS * 0.08,
        audio_silence_prefix_seconds=0.0,
        temperature=0.0,
        vad_head=1,  # the streams of training seldom pause for two seconds
        languages=("en",),
    )
    return SttModel(config, joint.mimi.eval(), joint.lm.eval(), PIECES)


def read_run(checkpoint: Path) -> Joint:
    """The model of a run's `last.pt`."""
    joint = new_model(0)
    joint.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return joint.eval()


def export(checkpoint: Path, folder: Path) -> None:
    """Write config.json, model.safetensors (bf16), the codec (fp32) and the tokenizer."""
    save_stt(model_of(read_run(checkpoint)), folder, dtype=torch.bfloat16, tokenizer=tokenizer())


def tokenizer() -> bytes:
    """A sentencepiece word model of exactly PIECES: the trainer orders words by frequency, so they must fall."""
    digits = [piece[1:] for piece in PIECES if piece.startswith("▁")]
    sentences = [" ".join(digits[:count]) for count in range(len(digits), 0, -1)]
    target = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=target,
        model_type="word",
        vocab_size=len(PIECES),
        pad_id=3,
        bos_id=1,
        eos_id=2,
        unk_id=0,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return target.getvalue()
