"""One step of text to speech, ours and `moshi`'s, on the same random weights; see step.py."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..checkpoints import TtsModel, save_tts
from ..checkpoints.random_tts import random_tts
from ..checkpoints.tts_model import CONTROL, GUIDANCE, SPEAKERS
from ..core import TEXT_PAD
from ..engine import TtsEngine, TtsOptions
from ..engine.pool import step_at_rest
from .peer import fill, fill_rings, moshi_info

Step = Callable[[], object]
STRENGTH = 2.0  # of the guidance; where it is not distilled into the model, a stream costs two rows


def speaking_steps(
    shape: str, dtype: torch.dtype, packed: str | None, peer: bool
) -> tuple[Callable[[int], Step], Callable[[int, ExitStack], Step] | None]:
    """For a batch size, a step of ours; and one of the peer's, which lasts until the stack is closed."""
    model = replace(random_tts(shape, torch.device("cpu"), dtype), packed=packed)
    if not peer:
        return partial(_our_step, model), None
    with tempfile.TemporaryDirectory() as name:
        save_tts(model, name, dtype=dtype)
        info = moshi_info(Path(name))
        theirs = info.get_mimi("cpu"), info.get_moshi("cpu", dtype=dtype)
    return partial(_our_step, model), partial(_their_step, theirs, model)


def _voice(model: TtsModel) -> np.ndarray[Any, np.dtype[np.float32]]:
    vectors = np.random.default_rng(0).standard_normal((model.config.voice_frames, model.voice_dim))
    return vectors.astype(np.float32)


def _our_step(model: TtsModel, batch: int) -> Step:
    engine = TtsEngine(model, batch)
    voices = (_voice(model),) if model.voice_dim else ()
    for slot in range(batch):
        engine.open(slot, TtsOptions(voices, cfg=STRENGTH, seed=slot))
    # Full context: every later step attends over all of it.
    fill(*engine._memory.heard)
    engine._memory.position.fill_(model.lm.config.context)
    engine._decoder.position.fill_(model.mimi.config.context)
    for stream in engine._streams.values():
        stream.step = model.lm.config.context
    acts = {slot: lambda _: TEXT_PAD for slot in range(batch)}
    engine._columns.zero_()
    return partial(step_at_rest, engine, acts)


def _their_step(peers: tuple[Any, Any], model: TtsModel, batch: int, stack: ExitStack) -> Step:
    """The reference always attends over its whole ring: its cost is that of full context from the first step."""
    from moshi.models.lm import LMGen

    mimi, lm = peers
    mimi.set_num_codebooks(model.config.codebooks)
    settings = model.config
    generator = LMGen(
        lm,
        temp=settings.temperature,
        temp_text=settings.temperature_text,
        top_k=settings.top_k,
        top_k_text=settings.top_k_text,
        cfg_coef=1.0 if model.guidances else STRENGTH,
        cfg_is_no_text=not model.guidances,
        condition_tensors=_their_conditions(lm, model, batch),
        on_text_hook=_feed_nothing,
    )
    stack.enter_context(mimi.streaming(batch))
    stack.enter_context(generator.streaming(batch))
    stack.enter_context(torch.no_grad())
    fill_rings(lm)
    nothing = torch.empty(batch, 0, 1, dtype=torch.long)
    for _ in range(max(model.lm.config.delays) + 1):  # nothing is decoded before
        generator.step(nothing)
    return lambda: mimi.decode(cast("torch.Tensor", generator.step(nothing))[:, 1:])


def _feed_nothing(tokens: torch.Tensor) -> None:
    tokens.fill_(TEXT_PAD)


def _their_conditions(lm: Any, model: TtsModel, batch: int) -> Any:
    from moshi.conditioners.base import ConditionAttributes, TensorCondition

    names = {conditioner.name for conditioner in model.conditions.config.conditioners}
    asked: dict[str, str | None] = {GUIDANCE: f"{STRENGTH}", CONTROL: "ok"}
    text = {name: value for name, value in asked.items() if name in names}
    tensors = {}
    if SPEAKERS in names:
        length = model.config.max_speakers * model.config.voice_frames
        vectors, heard = torch.zeros(1, length, model.voice_dim), torch.zeros(1, length, dtype=torch.bool)
        vectors[0, : model.config.voice_frames] = torch.from_numpy(_voice(model))
        heard[0, : model.config.voice_frames] = True
        tensors[SPEAKERS] = TensorCondition(vectors, heard)
    return lm.condition_provider.prepare_and_provide([ConditionAttributes(text, tensors)] * batch)
