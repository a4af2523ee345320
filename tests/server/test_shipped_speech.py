"""The text-to-speech files that ship with delayed-streams-modeling, Unmute and the fork, served as they are: Kyutai's
repositories are on the loopback interface, with a small random model of as many codebooks as the released one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from vivavoce.checkpoints import save_tts
from vivavoce.nn.depformer import DepformerConfig

from ..hub import Hub
from ..settings.conftest import CONFIGS
from ..speech_models import MIRRORED, small_tts
from .dialects.dialogue import KEY
from .process import Server, fetch

SUFFIX = ".1e68beda@240.safetensors"
NAMES = {
    "tokenizer.model": "tokenizer_spm_8k_en_fr_audio.model",
    "mimi.safetensors": "tokenizer-e351c8d8-checkpoint125.safetensors",
    "model.safetensors": "dsm_tts_1e68beda@240.safetensors",
}
SCHEDULE = (*range(8), *[8] * 8, *[9] * 8, *[10] * 8)
DEPFORMER = DepformerConfig(dim=16, num_heads=2, num_layers=1, hidden=24, schedule=SCHEDULE, rank=4)


@pytest.fixture
def kyutai(hub: Hub, tokenizer: bytes, tmp_path: Path) -> dict[str, str]:
    """The environment that leads to tts-1.6b-en_fr and tts-voices."""
    sizes = {"n_q": 32, "delays": (0, *[2] * 31), "depformer": DEPFORMER}
    model = small_tts(tokenizer, lm=sizes, mimi=replace(MIRRORED, codebooks=32), voice_suffix=SUFFIX)
    save_tts(model, tmp_path / "model", dtype=torch.float32)
    for ours, theirs in NAMES.items():
        shutil.copy(tmp_path / "model" / ours, tmp_path / "model" / theirs)
    for name in ("unmute-prod-website/default_voice.wav", "expresso/ex03-ex01_happy_001_channel1_334s.wav"):
        path = tmp_path / "voices" / f"{name}{SUFFIX}"
        path.parent.mkdir(parents=True)
        voice = np.random.default_rng(len(name)).normal(0, 1, (1, 12, 5)).astype(np.float32)
        save_file({"speaker_wavs": voice}, path)
    hub.repositories |= {"kyutai/tts-1.6b-en_fr": tmp_path / "model", "kyutai/tts-voices": tmp_path / "voices"}
    return {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1", "HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("name", "slots", "voices"),
    [("dsm/config-tts", 8, 2), ("unmute/tts", 2, 2), ("fork/config-tts", 16, 1), ("fork/config-tts-realtime", 16, 2)],
)
def test_a_shipped_file_speaks_unchanged(
    kyutai: dict[str, str], name: str, slots: int, voices: int, tmp_path: Path
) -> None:
    config = CONFIGS / f"{name}.toml"
    # The fork's files have no keys; beside the loopback address nothing else is given than what moshi-server is.
    own = {"VIVAVOCE_API_KEYS": KEY} if name.startswith("fork") else {}
    flags = ("--config", str(config), "--log-dir", str(tmp_path / "logs"), "--threads", "1", "--load-limit", "0")
    with Server(*flags, environment={**kyutai, **own, "VIVAVOCE_TTS_MODEL": ""}) as server:
        server.wait_ready()
        key = {"kyutai-api-key": KEY}
        listed = fetch(f"{server.url}/api/tts/voices", key).json()
        assert len(listed["voices"]) == voices
        if not name.startswith("fork"):
            assert listed["default"] == "unmute-prod-website/default_voice.wav"
        body = b'{"text": "viva voce", "voice": "%s"}' % listed["voices"][0].encode()
        answer = fetch(f"{server.url}/api/tts", {**key, "content-type": "application/json"}, body)
        assert (answer.status, answer.body[:4]) == (200, b"RIFF")
        assert len(answer.body) > 44 + 2 * 1920
        (module,) = server.get("/api/modules_info").json()
        assert (module["type"], module["path"], module["total_slots"]) == ("py", "/api/tts_streaming", str(slots))
