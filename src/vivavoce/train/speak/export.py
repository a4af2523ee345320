"""From a run to a voice in the released layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from vivavoce.checkpoints import TtsModel, save_tts
from vivavoce.checkpoints.voice_file import KEY
from vivavoce.core import FRAME_SIZE
from vivavoce.nn.mimi import Mimi

from ..corpus import Clip
from .run import SpeakerRun
from .sizes import CONFIG, VOICE_FRAMES, VOICE_SUFFIX, VOICES, tokenizer


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


def export(model: TtsModel, voices: Mapping[str, Tensor], folder: Path, codec: str | None) -> None:
    """Write the model (bf16), its voices, and its codec unless `codec` names a folder that has it."""
    save_tts(model, folder, dtype=torch.bfloat16, codec=codec)
    (folder / "voices").mkdir(exist_ok=True)
    for speaker, latents in voices.items():
        path = folder / "voices" / (VOICES[speaker] + VOICE_SUFFIX)
        save_file({KEY: latents.T[None].contiguous()}, path, {"sig": "digits", "epoch": "1"})
