"""Noise of a released shape, for measuring."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vivavoce.checkpoints import load_stt
from vivavoce.core import FRAME_SIZE, UnsupportedError
from vivavoce.engine import SttEngine


def test_noise_of_a_shape_steps_and_is_the_same_every_time() -> None:
    tokens = []
    for _ in range(2):
        model = load_stt("random:embedded", device="cpu")
        engine = SttEngine(model.mimi, model.lm, 1)
        engine.open(0)
        frame = np.sin(np.arange(FRAME_SIZE, dtype=np.float32))
        tokens.append([engine.step({0: frame})[0].token for _ in range(5)])
    assert tokens[0] == tokens[1]
    assert model.lm.embeddings.dtype == torch.float32
    assert len(model.pieces) == model.lm.config.text_card_out


def test_a_shape_without_a_name_is_told() -> None:
    with pytest.raises(UnsupportedError, match="random:stt-9b is not one of random:embedded, random:stt-1b"):
        load_stt("random:stt-9b")
