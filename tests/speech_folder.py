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


@pytest.fixture(scope="session")
def speaking_model(tokenizer: bytes) -> TtsModel:
    return small_tts(tokenizer, voice_suffix=SUFFIX)


@pytest.fixture(scope="session")
def speaking_folder(speaking_model: TtsModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's, with its voices in `voices`."""
    folder = tmp_path_factory.mktemp("models") / "small"
    save_tts(speaking_model, folder, dtype=torch.float32)
    for seed, name in enumerate(VOICES):
        path = folder / "voices" / f"{name}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (1, speaking_model.voice_dim, speaking_model.config.voice_frames)
        save_file({"speaker_wavs": np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)}, path)
    return folder
