"""A small model that speaks, with random, lively weights and three voices, in a folder as released."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from vivavoce.checkpoints import TtsModel, save_tts

from .speech_models import small_tts

SUFFIX = ".test@1.safetensors"
VOICES = ("ada.wav", "moods/happy.wav", "moods/sad.wav")


def write(folder: Path, tokenizer: bytes) -> TtsModel:
    """The model, and its voices in the folder `voices`."""
    model = small_tts(tokenizer, voice_suffix=SUFFIX)
    save_tts(model, folder, dtype=torch.float32)
    for seed, name in enumerate(VOICES):
        path = folder / "voices" / f"{name}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (1, model.voice_dim, model.config.voice_frames)
        save_file({"speaker_wavs": np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)}, path)
    return model


@pytest.fixture(scope="session")
def speaking_folder(tokenizer: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    write(folder, tokenizer)
    return folder
