"""What a speaking engine's process loads, and how it makes sure that it runs. Imports torch; for the worker alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from vivavoce.checkpoints import Instead, TtsModel, load_tts
from vivavoce.checkpoints.vocabulary import words_of
from vivavoce.checkpoints.voices import Voices
from vivavoce.core import TEXT_PAD, CheckpointError
from vivavoce.engine.pool import rest
from vivavoce.engine.tts import TtsEngine
from vivavoce.session import TtsProfile

from .cast import Cast
from .speech_messages import SpeechInfo, SpeechSpec, Wish

BESIDE = "voices"  # the folder of a model's own voices, in the model's


def load(spec: SpeechSpec) -> tuple[TtsEngine, Cast, SpeechInfo, list[tuple[int, float]]]:
    """The engine, warm; its voices; what it is; streams and seconds of some steps.

    Raises a VivavoceError with one clear line.
    """
    engine, cast = prepare(spec)
    rest(engine)
    return engine, cast, _info(engine, cast), _warm_up(engine, cast)


def prepare(spec: SpeechSpec) -> tuple[TtsEngine, Cast]:
    """The engine and its voices. Raises as `load`."""
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    instead = Instead(**spec.files, codebooks=spec.codebooks)
    model = _changed(load_tts(spec.model, device=spec.device, dtype=spec.dtype, instead=instead), spec)
    cast = Cast(model, profile_of(model), _voices(model, spec), spec.padding_bonus or 0.0)
    engine = TtsEngine(model, spec.slots)
    engine.let_go()
    return engine, cast


def profile_of(model: TtsModel) -> TtsProfile:
    """How the model is fed its text."""
    config, lm = model.config, model.lm.config
    return TtsProfile(
        text_card=lm.text_card,
        delay_steps=config.delay_steps,
        acoustic_delay=max(lm.delays),
        lookahead=config.second_stream_ahead,
        multi_speaker=bool(model.voice_dim),
        initial_padding=config.initial_padding,
        max_padding=config.max_padding,
        padding_between=config.padding_between,
        final_padding=config.final_padding,
        words=words_of(model.tokenizer),
    )


def _changed(model: TtsModel, spec: SpeechSpec) -> TtsModel:
    """The model with what the spec says instead of its own settings."""
    changes: dict[str, float | int | None] = {
        "temperature": spec.temperature,
        "temperature_text": spec.temperature,
        "guidance": spec.cfg,
        "top_k": spec.top_k,
        **spec.paddings,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(model, config=replace(model.config, **given))  # type: ignore[arg-type]


def _voices(model: TtsModel, spec: SpeechSpec) -> Voices | None:
    """Those of the spec, or those that lie beside the model; None without."""
    if spec.voice_dir is not None:
        return Voices.open(spec.voice_dir, model.config, model.voice_dim, spec.voice)
    if "lm" in model.files and (folder := Path(model.files["lm"]).parent / BESIDE).is_dir():
        return Voices(folder, model.config, model.voice_dim, spec.voice)
    if spec.voice is not None:
        raise CheckpointError(f"there is no voice {spec.voice!r}: {model.config.name} has no voices; name a voice_dir")
    return None


def _warm_up(engine: TtsEngine, cast: Cast) -> list[tuple[int, float]]:
    """All slots up to their first audio, so that memory that is missing is missed now; then a single one."""
    slots = range(engine.slots)
    for slot in slots:
        engine.open(slot, cast.options(Wish(cast.default)))
    timed = list[tuple[int, float]]()
    for batch in (*[engine.slots] * (engine.first_audio_step + 1), *sorted({engine.slots, 1})):
        begun = perf_counter()
        engine.step(dict.fromkeys(slots[:batch], _say_nothing))
        timed.append((batch, perf_counter() - begun))
    for slot in slots:
        engine.close(slot)
    return timed[engine.first_audio_step + 1 :]


def _say_nothing(_: int) -> int:
    return TEXT_PAD


def _info(engine: TtsEngine, cast: Cast) -> SpeechInfo:
    model, config = engine.model, engine.model.config
    return SpeechInfo(
        name=config.name,
        languages=config.languages,
        slots=engine.slots,
        device=str(engine.device),
        dtype=model.dtype,
        files=dict(model.files),
        pid=os.getpid(),
        voices=cast.voices.names if cast.voices else (),
        voice=cast.voices.default if cast.voices else None,
        voice_shape=(config.voice_frames, model.voice_dim) if model.voice_dim else None,
        most_voices=min(2, config.max_speakers) if model.voice_dim else 1,
        profile=cast.profile,
        dep_q=model.lm.config.n_q,
        history_steps=engine.snapshot_steps,
    )
