"""From a run to a voice in the released layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from vivavoce.checkpoints import TtsModel, save_tts
from vivavoce.checkpoints.pieces import dump
from vivavoce.checkpoints.pytorch import mimi_layout
from vivavoce.checkpoints.save import MIMI, write
from vivavoce.checkpoints.voice_file import KEY
from vivavoce.core import FRAME_SIZE
from vivavoce.nn.conv import CausalConv1d
from vivavoce.nn.mimi import Mimi

from ..corpus import Clip
from .run import SpeakerRun
from .sizes import CODEBOOKS, CONFIG, VOICE_FRAMES, VOICE_SUFFIX, VOICES, tokenizer

HEADROOM = 0.65  # the decoder makes peaks of 0.7 into 1.1 and more


@torch.inference_mode()
def voices_of(mimi: Mimi, clips: Sequence[Clip]) -> dict[str, Tensor]:
    """A recording of each speaker as the codec's latents, float32 [VOICE_FRAMES, dim]: their first clips in a row."""
    found = {}
    for speaker in VOICES:
        own = np.concatenate([clip.audio for clip in clips if clip.speaker == speaker][:3])
        audio = np.resize(own, VOICE_FRAMES * FRAME_SIZE).astype(np.float32)
        found[speaker] = mimi.latent(torch.from_numpy(audio)[None])[0].clone()
    return found


def model_of(run: SpeakerRun, mimi: Mimi) -> TtsModel:
    """The networks of a run as a loadable model; not copies."""
    networks = run.lm.eval().requires_grad_(False), run.conditions.eval().requires_grad_(False)
    return TtsModel(CONFIG, mimi, *networks, tokenizer())


def own_codec(mimi: Mimi) -> Mimi:
    """The codec with as many codebooks as the voice speaks, and room above its peaks."""
    few = Mimi(replace(mimi.config, codebooks=CODEBOOKS))
    state = mimi.state_dict()
    acoustic = "quantizer.acoustic.codebooks"
    few.load_state_dict(state | {acoustic: state[acoustic][: CODEBOOKS - 1]})
    scale(few, HEADROOM)
    return few.eval().requires_grad_(False)


@torch.no_grad()
def scale(mimi: Mimi, factor: float) -> None:
    """Make all that the decoder says that much louder."""
    for parameter in cast("CausalConv1d", mimi.decoder.blocks[-1]).parameters():
        parameter.mul_(factor)


def export(model: TtsModel, voices: Mapping[str, Tensor], folder: Path, beside: str | None = None) -> None:
    """Write the model (bf16) and its voices.

    Its codec goes with it (fp16), or to the model `beside` whose encoder it has: that one then has the new decoder.
    """
    if beside is None:
        model = replace(model, mimi=own_codec(model.mimi))
    save_tts(model, folder, dtype=torch.bfloat16, codec=beside and f"../{beside}")
    target, dtype = (folder, torch.float16) if beside is None else (folder.parent / beside, torch.float32)
    write(target / MIMI, dump(model.mimi, mimi_layout(model.mimi.config), dtype))
    (folder / "voices").mkdir(exist_ok=True)
    for speaker, latents in voices.items():
        path = folder / "voices" / (VOICES[speaker] + VOICE_SUFFIX)
        save_file({KEY: latents.T[None].contiguous()}, path, {"sig": "digits", "epoch": "1"})
