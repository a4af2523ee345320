"""What the engine's process loads, and how it makes sure that it runs. Imports torch; for the worker alone."""

from __future__ import annotations

import os
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch

from vivavoce.checkpoints import Instead, SttModel, load_stt
from vivavoce.core import FRAME_SIZE
from vivavoce.engine import NullEngine, SttEngine
from vivavoce.engine.null import NULL, PIECES
from vivavoce.engine.pool import rest

from .messages import EngineSpec, ModelInfo


def load(spec: EngineSpec) -> tuple[SttEngine | NullEngine, ModelInfo, list[tuple[int, float]]]:
    """The engine, warm; what it is; streams and seconds of some steps. Raises a VivavoceError with one clear line."""
    if spec.model == NULL:
        null = NullEngine(spec.slots)
        return null, _null_info(null), _warm_up(null)
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    model = _changed(_model(spec), spec)
    engine = SttEngine.fastest(model.mimi, model.lm, spec.slots, packed=model.packed, pieces=model.pieces)
    rest(engine)
    engine.let_go()
    return engine, _info(model, engine), _warm_up(engine)


def _model(spec: EngineSpec) -> SttModel:
    instead = Instead(**spec.files, codebooks=spec.codebooks)
    return load_stt(spec.model, device=spec.device, dtype=spec.dtype, instead=instead)


def _changed(model: SttModel, spec: EngineSpec) -> SttModel:
    """The model with what the spec says instead of its own settings."""
    changes = {
        "audio_delay_seconds": spec.delay_seconds,
        "audio_silence_prefix_seconds": spec.silence_prefix_seconds,
        "temperature": spec.temperature,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(model, config=replace(model.config, **given))  # type: ignore[arg-type]


def _warm_up(engine: SttEngine | NullEngine) -> list[tuple[int, float]]:
    """Two steps of all slots, so that memory that is missing is missed now, and one of a single slot."""
    silence = np.zeros(FRAME_SIZE, np.float32)
    for slot in range(engine.slots):
        engine.open(slot)
    engine.step(dict.fromkeys(range(engine.slots), silence))  # the first one is slow
    engine.catch_up({0: np.zeros((engine.TOGETHER, FRAME_SIZE), np.float32)})
    timed = list[tuple[int, float]]()
    for batch in sorted({engine.slots, 1}):
        begun = perf_counter()
        engine.step(dict.fromkeys(range(batch), silence))
        timed.append((batch, perf_counter() - begun))
    for slot in range(engine.slots):
        engine.close(slot)
    return timed


def _info(model: SttModel, engine: SttEngine) -> ModelInfo:
    config = model.config
    return ModelInfo(
        name=config.name,
        languages=config.languages,
        slots=engine.slots,
        pieces=model.pieces,
        delay_seconds=config.audio_delay_seconds,
        silence_prefix_seconds=config.audio_silence_prefix_seconds,
        vad_heads=model.lm.config.extra_heads,
        vad_head=config.vad_head,
        temperature=config.temperature,
        n_q=model.lm.config.n_q,
        snapshot_frames=engine.snapshot_frames,
        tokenizer=model.tokenizer(),
        device=str(engine.device),
        dtype=model.dtype,
        files=dict(model.files),
        pid=os.getpid(),
    )


def _null_info(engine: NullEngine) -> ModelInfo:
    return ModelInfo(
        name=NULL,
        languages=(),
        slots=engine.slots,
        pieces=PIECES,
        delay_seconds=0.5,
        silence_prefix_seconds=0.0,
        vad_heads=4,
        vad_head=2,
        temperature=0.0,
        n_q=engine.n_q,
        snapshot_frames=engine.snapshot_frames,
        device="none",
        dtype="none",
        files={},
        pid=os.getpid(),
    )
