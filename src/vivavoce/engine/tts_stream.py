"""One text-to-speech stream as the engine knows it: options, prefix, place in time; and its conditions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vivavoce.checkpoints import TtsModel
from vivavoce.checkpoints.tts_model import CONTROL, GUIDANCE, SPEAKERS
from vivavoce.nn.conditions import ConditionerConfig, Fused, Given, pad_sources
from vivavoce.nn.delays import skew

from .tts_snapshot import TtsOptions


@dataclass
class TtsStream:
    """One stream. Steps are counted from its prefix on, which takes the first ones without being stepped."""

    options: TtsOptions
    guidance: float  # where not 1, a second row of the state hears neither text nor prefix
    prefix: Tensor  # int64 [frames, n_q]
    forced: Tensor  # int64 [prefix_end + max(delays), n_q]: columns of the first steps, as far as they are not its own
    step: int  # the next one
    prefix_end: int  # the first step whose codes are, as far as they are not delayed, its own

    @property
    def guided(self) -> bool:
        """Whether it takes two rows."""
        return self.guidance != 1

    @classmethod
    def of(cls, model: TtsModel, options: TtsOptions) -> TtsStream:
        """A stream as it begins. Raises ValueError for options that the model cannot follow."""
        device, n_q = model.lm.embeddings.device, model.lm.config.n_q
        prefix = np.empty((0, n_q), np.int32) if options.prefix is None else options.prefix
        _refuse_wrong_codes(prefix, n_q, model.lm.config.card)
        codes = torch.tensor(prefix, dtype=torch.long, device=device)
        codes[:, model.config.codebooks :] = -1
        forced = skew(codes, model.lm.config.delays, model.config.delay_steps, model.lm.config.card)
        cfg = model.config.guidance if options.cfg is None else options.cfg
        end = len(codes) + model.config.delay_steps
        return cls(options, 1.0 if model.guidances else cfg, codes, forced, len(codes), end)


def conditions_of(model: TtsModel, options: TtsOptions) -> Fused:
    """What the options say to the conditioners, for one row. Raises ValueError for what the model cannot follow."""
    config, voices = model.config, options.voices
    if len(voices) > (config.max_speakers if model.voice_dim else 0):
        most = f"at most {config.max_speakers} voices" if model.voice_dim else "no voice vectors, but a prefix"
        raise ValueError(f"the model takes {most}, got {len(voices)} voices")
    for voice in voices:
        if voice.ndim != 2 or voice.shape[1] != model.voice_dim or not 0 < len(voice) <= config.voice_frames:
            raise ValueError(
                f"a voice of this model is [1 to {config.voice_frames}, {model.voice_dim}], got {list(voice.shape)}"
            )
    return _fuse(model, {c.name: _value(model, c, options) for c in model.conditions.config.conditioners})


def no_conditions(model: TtsModel) -> Fused:
    """What the row hears that guidance leads away from."""
    return _fuse(model, {c.name: None for c in model.conditions.config.conditioners})


def _value(model: TtsModel, conditioner: ConditionerConfig, options: TtsOptions) -> str | list[Tensor] | None:
    if conditioner.name == SPEAKERS:
        device = model.lm.embeddings.device
        return [torch.tensor(voice, dtype=torch.float32, device=device) for voice in options.voices]
    if conditioner.name == GUIDANCE:
        return f"{model.config.guidance if options.cfg is None else options.cfg:.1f}"
    return "ok" if conditioner.name == CONTROL else None


def _fuse(model: TtsModel, values: dict[str, str | list[Tensor] | None]) -> Fused:
    given: dict[str, Tensor | Given] = {}
    for conditioner in model.conditions.config.conditioners:
        value, module = values[conditioner.name], model.conditions[conditioner.name]
        if conditioner.bins:
            assert not isinstance(value, list)
            given[conditioner.name] = module.ids([value])
        else:
            vectors = value if isinstance(value, list) else []
            slots, length = model.config.max_speakers, model.config.voice_frames
            given[conditioner.name] = pad_sources(vectors, slots, length, conditioner.dim, module.padding.device)
    return model.conditions(given).to(model.lm.embeddings.dtype)


def _refuse_wrong_codes(prefix: np.ndarray, n_q: int, card: int) -> None:
    if prefix.ndim != 2 or prefix.shape[1] != n_q:
        raise ValueError(f"a prefix has {n_q} codebooks, got codes {list(prefix.shape)}")
    if prefix.size and not 0 <= prefix.min() <= prefix.max() < card:
        raise ValueError(f"the LM hears codes 0 to {card - 1}, the prefix has {prefix.min()} to {prefix.max()}")
