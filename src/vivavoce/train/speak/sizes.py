"""What the embedded voice is: its vocabulary, its sizes, how text and audio lie to each other."""

from __future__ import annotations

import io
import string
import tempfile

import sentencepiece
import torch
from torch import nn

from vivavoce.checkpoints.tts_model import SPEAKERS, TtsConfig
from vivavoce.nn.conditions import ConditionerConfig, Conditions, ConditionsConfig
from vivavoce.nn.depformer import DepformerConfig
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.session.profile import TtsProfile

from ..corpus import DIGITS

NAME = "tts-digits-en"
VOICE_SUFFIX = ".digits@1.safetensors"
VOICES = {
    "kokoro-af_heart": "heart",
    "kokoro-am_michael": "michael",
}  # speakers of the corpus; the first is the default
VOICE_FRAMES = 25  # two seconds of the codec's latents are a voice
CODEBOOKS = 8
DELAY_STEPS = 6  # of the audio behind the text: 0.48 s
ACOUSTIC_DELAY = 1
LOOKAHEAD = 2
# A word that ends a group carries its mark: it is said otherwise, and a pause follows.
PIECES = ("<unk>", "<s>", "</s>", "<pad>", *(f"▁{digit}{mark}" for digit in DIGITS for mark in ("", ",", ".")))

CONFIG = TtsConfig(
    name=NAME,
    audio_delay_seconds=DELAY_STEPS * 0.08,
    second_stream_ahead=LOOKAHEAD,
    codebooks=CODEBOOKS,
    max_speakers=1,
    voice_frames=VOICE_FRAMES,
    voice_suffix=VOICE_SUFFIX,
    temperature=0.4,
    temperature_text=1.0,  # sharper, it takes the likelier every time: to wait, and all pauses grow
    guidance=1.5,
    max_padding=15,
    final_padding=6,
    languages=("en",),
)
PROFILE = TtsProfile(
    text_card=len(PIECES),
    delay_steps=DELAY_STEPS,
    acoustic_delay=ACOUSTIC_DELAY,
    lookahead=LOOKAHEAD,
    multi_speaker=True,
    max_padding=CONFIG.max_padding,
    final_padding=CONFIG.final_padding,
)
LM = LmConfig(
    dim=256, num_heads=4, num_layers=4, hidden=640, n_q=CODEBOOKS, card=512, text_card=len(PIECES),
    text_card_out=len(PIECES), context=50, max_period=10_000.0,
    depformer=DepformerConfig(dim=128, num_heads=4, num_layers=2, hidden=320, schedule=tuple(range(CODEBOOKS))),
    delays=(0, *(ACOUSTIC_DELAY,) * (CODEBOOKS - 1)), demux=True, cross_attention=True,
)  # fmt: skip


def conditions_config(voice_dim: int) -> ConditionsConfig:
    """The voice, as latents of the codec that are that wide, for the cross-attention."""
    return ConditionsConfig(LM.dim, (ConditionerConfig(SPEAKERS, voice_dim),), crossed=(SPEAKERS,), positions=True)


def new_speaker(voice_dim: int, seed: int) -> tuple[Lm, Conditions]:
    """The two networks, freshly initialised."""
    torch.manual_seed(seed)
    lm, conditions = Lm(LM), Conditions(conditions_config(voice_dim))
    for module in (*lm.modules(), *conditions.modules()):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
    nn.init.normal_(lm.embeddings, std=LM.dim**-0.5)
    with torch.no_grad():
        lm.embeddings[-1] = 0
    return lm, conditions


def tokenizer() -> sentencepiece.SentencePieceProcessor:
    """A sentencepiece word model of exactly PIECES: the trainer orders words by frequency, so they must fall.

    Capitals are small letters to it, figures are words, and ends of sentences are full stops.
    """
    words = [piece[1:] for piece in PIECES[4:]]
    sentences = [" ".join(words[:count]) for count in range(len(words), 0, -1)]
    target = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.writelines(f"{_code_points(said)}\t{_code_points(read)}\n" for said, read in _READ_AS.items())
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=target, model_type="word", vocab_size=len(PIECES),
            pad_id=3, bos_id=1, eos_id=2, unk_id=0, normalization_rule_tsv=rules.name, hard_vocab_limit=False,
            minloglevel=2,
        )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=target.getvalue())


_READ_AS = {letter.upper(): letter for letter in string.ascii_lowercase} | {
    **{str(figure): word for figure, word in enumerate(DIGITS)},
    **{";": ",", "!": ".", "?": "."},
}


def _code_points(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)
