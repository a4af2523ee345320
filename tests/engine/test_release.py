"""An engine that has let its model go: what was packed is not kept twice, and nothing is heard or said otherwise."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import numpy as np
import pytest
from torch import nn

from vivavoce.engine import SttEngine, TtsEngine
from vivavoce.engine.codec import PlainEncoder
from vivavoce.engine.kernels.codec import NativeDecoder, NativeEncoder
from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.lm import NativeLm
from vivavoce.engine.kernels.speech import NativeSpeech
from vivavoce.engine.stepper import PlainLm
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi

from .conftest import PRECISIONS
from .speakers import GREEDY, options_of, speakers, talk, told

FRAMES = list(np.random.default_rng(0).standard_normal((30, 12)).astype(np.float32))


def kept(module: nn.Module) -> int:
    """Bytes of its tensors that are in memory."""
    return sum(weight.nbytes for weight in module.parameters() if weight.device.type != "meta")


@pytest.mark.parametrize("how", PRECISIONS)
def test_what_was_let_go_is_heard_all_the_same(models: tuple[Mimi, Lm], kernels: Library, how: str) -> None:
    outputs = []
    for goes in (False, True):
        mimi, lm = deepcopy(models)
        stepper, encoder = partial(NativeLm, kernels), partial(NativeEncoder, kernels)
        engine = SttEngine(mimi, lm, 2, partial(stepper, precision=PRECISIONS[how]), encoder)
        engine.open(0)
        outputs.append([engine.step({0: frame})[0] for frame in FRAMES[:10]])
        if goes:
            engine.let_go()
            assert kept(mimi) == 0
            assert kept(lm) < lm.embeddings.nbytes + lm.extra_heads.nbytes + 1000
        engine.open(1)
        outputs[-1] += [engine.step({0: frame, 1: frame})[slot] for frame in FRAMES[10:] for slot in (0, 1)]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("kind", ["voices", "prefixes"])
def test_what_was_let_go_is_said_all_the_same(models: tuple[Mimi, Lm], kernels: Library, kind: str) -> None:
    spoken = []
    for goes in (False, True):
        model = speakers(deepcopy(models[0]))[kind]
        engine = TtsEngine(model, 2, partial(NativeSpeech, kernels), partial(NativeDecoder, kernels))
        if goes:
            engine.let_go()
            assert model.lm.depformer is not None
            assert kept(model.lm.depformer) == kept(model.mimi.decoder) == 0
            assert kept(model.mimi.encoder) > 0
        engine.open(1, options_of(kind, **GREEDY))
        spoken.append(talk(engine, 1, 30))
    assert told(spoken[0]) == told(spoken[1])


def test_pytorch_needs_its_tensors(models: tuple[Mimi, Lm]) -> None:
    mimi, lm = deepcopy(models)
    engine = SttEngine(mimi, lm, 1, PlainLm, PlainEncoder)
    engine.let_go()
    assert (kept(mimi), kept(lm)) == (kept(models[0]), kept(models[1]))
    engine.open(0)
    assert engine.step({0: FRAMES[0]})
