"""Speaking models of the laws' tests: as small as can be, every size another, and one of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from sentencepiece import SentencePieceProcessor

from vivavoce.checkpoints import TtsConfig, TtsModel
from vivavoce.engine import TtsEngine, TtsOptions, TtsOutput
from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.speech import NativeSpeech
from vivavoce.engine.tts_stepper import PlainTts, TtsStepper, TtsStepperOf
from vivavoce.nn.conditions import ConditionerConfig, Conditions, ConditionsConfig
from vivavoce.nn.depformer import DepformerConfig
from vivavoce.nn.lm import Lm, LmConfig
from vivavoce.nn.mimi import Mimi

from ..speech_models import speak
from .conftest import PRECISIONS

LM = LmConfig(
    dim=24, num_heads=3, num_layers=2, hidden=40, n_q=4, card=32, text_card=20, text_card_out=20, context=7,
    max_period=1000.0, delays=(0, 2, 1, 2), demux=True,
    depformer=DepformerConfig(dim=16, num_heads=2, num_layers=1, hidden=20, schedule=(0, 1, 1, 2), rank=6),
)  # fmt: skip
SETTINGS = TtsConfig("law", audio_delay_seconds=0.24, codebooks=4, max_speakers=2, voice_frames=3)
VOICED = ConditionsConfig(
    24, (ConditionerConfig("speaker_wavs", 5), ConditionerConfig("cfg", 4, 2, ("1.0", "2.0"))),
    added=("cfg",), crossed=("speaker_wavs",), positions=True,
)  # fmt: skip
EngineOf = Callable[[TtsModel, int], TtsEngine]
GREEDY: dict[str, float] = {"temperature": 0.0, "temperature_text": 0.0}


def speakers(mimi: Mimi) -> dict[str, TtsModel]:
    """With voices and distilled guidance; with prefixes and guidance that costs a second row."""
    torch.manual_seed(9)
    voiced = LmConfig(**{**LM.__dict__, "cross_attention": True})
    made = {"voices": (Lm(voiced), Conditions(VOICED)), "prefixes": (Lm(LM), Conditions(ConditionsConfig(24)))}
    for lm, conditions in made.values():
        speak(lm, eager=1)
        conditions.requires_grad_(False)
    pieces = SentencePieceProcessor()  # the engine does not read
    return {kind: TtsModel(SETTINGS, mimi, lm.eval(), conditions, pieces) for kind, (lm, conditions) in made.items()}


def stepper_of(path: str, request: pytest.FixtureRequest) -> TtsStepperOf:
    """PyTorch, or the kernels in some precision."""
    if path == "pytorch":
        return PlainTts
    kernels: Library = request.getfixturevalue("kernels")

    def native(lm: Lm, codebooks: int, rows: int, source: int) -> TtsStepper:
        return NativeSpeech(kernels, lm, codebooks, rows, source, PRECISIONS[path])

    return native


def options_of(kind: str, number: int = 0, **how: float) -> TtsOptions:
    """Options that differ by number; the even ones are guided."""
    rng = np.random.default_rng(number)
    voices = tuple(rng.standard_normal((3, 5)).astype(np.float32) for _ in range(1 + number % 2))
    prefix = rng.integers(0, 32, (5 * (number % 3), 4)).astype(np.int32)
    given: dict[str, object] = {"voices": voices} if kind == "voices" else {"prefix": prefix}
    return TtsOptions(**given, cfg=1.0 + (number + 1) % 2, seed=number, **how)  # type: ignore[arg-type]


def answer(choice: int) -> int:
    """An act whose token depends on what was chosen, and is now and then of both text streams."""
    return (choice * 31 + 5) % 441


def talk(engine: TtsEngine, slot: int, steps: int, act: Callable[[int], int] = answer) -> list[TtsOutput]:
    """Steps of one slot."""
    return [engine.step({slot: act})[slot] for _ in range(steps)]


def alone(
    engine_of: EngineOf, model: TtsModel, options: TtsOptions, steps: int, slot: int = 0, slots: int = 1
) -> list[TtsOutput]:
    """What a stream says with an engine to itself."""
    engine = engine_of(model, slots)
    engine.open(slot, options)
    return talk(engine, slot, steps)


def told(outputs: list[TtsOutput]) -> list[tuple[int, int, tuple[int, ...], bool]]:
    """All but the samples."""
    return [(o.sampled, o.token, o.codes, o.audio is None) for o in outputs]


def sound(outputs: list[TtsOutput]) -> np.ndarray:
    """The samples."""
    return np.concatenate([np.empty(0, np.float32), *(o.audio for o in outputs if o.audio is not None)])


def acts(slots: Mapping[int, object] | set[int]) -> dict[int, Callable[[int], int]]:
    """The same act for all."""
    return dict.fromkeys(slots, answer)
