"""A stream that goes on elsewhere: what a snapshot must hold, and what restoring it promises."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vivavoce.audio import load
from vivavoce.checkpoints import load_stt
from vivavoce.core import FRAME_SIZE
from vivavoce.engine import History, Snapshot, StepOutput, SttEngine
from vivavoce.engine.codec import PlainEncoder
from vivavoce.engine.stepper import PlainLm
from vivavoce.engine.terms import Term
from vivavoce.nn.rows import Rows
from vivavoce.nn.transformer import Transformer, TransformerConfig

from .test_laws import EngineOf, Frames, alone, laws, some_terms, sound, told

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.flac"
EVERYTHING = 10_000
fewer_laws = settings(laws, max_examples=10)


def lived(
    engine: SttEngine, slot: int, frames: Frames, keep: tuple[int, int], temperature: float = 0.0, seed: int = 0,
    terms: tuple[Term, ...] = (),
) -> tuple[History, list[StepOutput]]:  # fmt: skip
    """A stream stepped over all frames; its history, of that many columns of codes and frames of audio."""
    token = engine.open(slot, temperature=temperature, seed=seed, terms=terms)
    history = History(token, *keep, engine.lm.config.n_q, temperature, seed, terms)
    outputs = []
    for frame in frames:
        output = engine.step({slot: frame})[slot]
        history.add(frame, output.token, output.codes)
        outputs.append(output)
    return history, outputs


def snapshot_of(engine: SttEngine, frames: Frames, keep: tuple[int, int] = (EVERYTHING, EVERYTHING)) -> Snapshot:
    return lived(engine, 0, frames, keep)[0].snapshot()


@given(
    at=st.integers(0, 40),
    slot=st.integers(0, 4),
    pauses=st.lists(st.booleans(), min_size=12, max_size=12),
    temperature=st.sampled_from([0.0, 0.9]),
    terms=some_terms,
)
@laws
def test_a_stream_whose_life_was_kept_goes_on_as_if_never_interrupted(
    engine_of: EngineOf, at: int, slot: int, pauses: list[bool], temperature: float, terms: tuple[Term, ...]
) -> None:
    """At any point, also beyond both windows; in any slot, used before, beside neighbours that come and go."""
    frames = sound(21, at + len(pauses))
    expected = alone(engine_of, frames, temperature=temperature, seed=9, terms=terms)
    history, _ = lived(engine_of(1), 0, frames[:at], (EVERYTHING, EVERYTHING), temperature, 9, terms)
    engine = engine_of(5)
    for other in range(5):
        engine.open(other)
    for frame in sound(22, 15):
        engine.step(dict.fromkeys(range(5), frame))
    engine.close(slot)
    engine.restore(slot, history.snapshot())
    outputs: list[StepOutput] = []
    for pause in pauses:
        others = {other: sound(23 + other, 1)[0] for other in range(5) if other != slot and not pause}
        outputs.append(engine.step({**others, slot: frames[at + len(outputs)]})[slot])
    assert told(outputs) == told(expected[at:])
    assert [o.logprob for o in outputs] == pytest.approx([o.logprob for o in expected[at:]], abs=1e-3)
    assert [x for o in outputs for x in o.vad] == pytest.approx([x for o in expected[at:] for x in o.vad], abs=1e-3)


@given(ages=st.lists(st.integers(0, 30), min_size=1, max_size=4))
@fewer_laws
def test_many_streams_restored_into_one_engine_each_go_on(engine_of: EngineOf, ages: list[int]) -> None:
    lives = [sound(40 + i, age + 8) for i, age in enumerate(ages)]
    running = sound(39, 20)
    engine = engine_of(5)
    engine.open(4)
    neighbour = [engine.step({4: frame})[4] for frame in running[:12]]
    for slot, (life, age) in enumerate(zip(lives, ages, strict=True)):
        engine.restore(slot, snapshot_of(engine_of(1), life[:age]))
    outputs: list[list[StepOutput]] = [[] for _ in ages]
    for i in range(8):
        results = engine.step(
            {4: running[12 + i], **{s: life[age + i] for s, (life, age) in enumerate(zip(lives, ages, strict=True))}}
        )
        neighbour.append(results[4])
        for slot, mine in enumerate(outputs):
            mine.append(results[slot])
    assert told(neighbour) == told(alone(engine_of, running))
    for mine, life, age in zip(outputs, lives, ages, strict=True):
        assert told(mine) == told(alone(engine_of, life)[age:])


@given(at=st.integers(30, 60), ahead=st.integers(1, 10))
@fewer_laws
def test_what_was_not_kept_is_not_heard(engine_of: EngineOf, at: int, ahead: int) -> None:
    """Two streams whose last frames and codes are equal go on alike, whatever they were before."""
    keep = (3, 2)
    snapshot = snapshot_of(engine_of(1), sound(51, at), keep)
    other = snapshot_of(engine_of(1), sound(52, at), keep)
    assert not np.array_equal(snapshot.codes, other.codes)
    twin = replace(other, text=snapshot.text, codes=snapshot.codes, audio=snapshot.audio)
    engine = engine_of(2)
    engine.open(1)
    for frame in sound(53, 20):  # the slot's last user must not be heard either
        engine.step({1: frame})
    engine.close(1)
    engine.restore(0, snapshot)
    engine.restore(1, twin)
    for frame in sound(54, ahead):
        results = engine.step({0: frame, 1: frame})
        assert np.isfinite([results[0].logprob, *results[0].vad]).all()
        assert told([results[0]]) == told([results[1]])


def test_one_layer_sees_of_a_short_snapshot_just_what_was_kept() -> None:
    """Keys that were never heard take no share of the attention: the ring's zeros would, were they not masked."""
    torch.manual_seed(0)
    stack = Transformer(TransformerConfig(16, 2, 1, 24, 6, 10_000.0, gated=True))
    for parameter in stack.parameters():
        nn.init.normal_(parameter, 0, parameter.shape[-1] ** -0.5)
    x = torch.randn(1, 4, 16)
    state = stack.state(2)
    with torch.no_grad():
        stack.prefill(x[:, :3], state, 1, 100)
        torch.testing.assert_close(stack(x[:, 3:], state, Rows([1])), stack(x)[:, 3:], atol=1e-5, rtol=1e-4)


class Calls:
    """Counts how often the networks run."""

    def __init__(self, *networks: nn.Module) -> None:
        self.count = 0
        self.hooks = [network.register_forward_hook(self._add) for network in networks]

    def _add(self, *_: object) -> None:
        self.count += 1

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()


@pytest.mark.parametrize("age", [1, 7, 50])
def test_restoring_costs_one_pass_through_each_network(engine_of: EngineOf, age: int) -> None:
    snapshot = snapshot_of(engine_of(1), sound(61, age))
    engine = engine_of(2)
    with Calls(engine.mimi.encoder, engine.mimi.encoder_transformer) as calls, Calls(engine.lm.transformer) as lm_calls:
        engine.restore(1, snapshot)
    assert calls.count == 2 * isinstance(engine._codec, PlainEncoder)  # the kernels call no module
    assert lm_calls.count == isinstance(engine._memory, PlainLm)  # the kernels take it in bites of a call's frames


def test_a_stream_restored_before_its_first_frame_is_one_that_was_opened(engine_of: EngineOf) -> None:
    engine = engine_of(1)
    engine.restore(0, snapshot_of(engine_of(1), []))
    assert [engine.step({0: frame})[0] for frame in sound(62, 20)] == alone(engine_of, sound(62, 20))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e38])
def test_nan_in_a_snapshot_hurts_nobody(engine_of: EngineOf, poison: float) -> None:
    snapshot = snapshot_of(engine_of(1), sound(63, 20))
    snapshot.audio[-4:, ::3] = poison
    engine = engine_of(2)
    engine.open(0)
    engine.restore(1, snapshot)
    neighbour = []
    for frame in sound(64, 12):
        results = engine.step({0: frame, 1: frame})
        assert np.isfinite([results[1].logprob, *results[1].vad]).all()
        neighbour.append(results[0])
    assert told(neighbour) == told(alone(engine_of, sound(64, 12)))
    engine.close(1)
    engine.open(1)
    assert [engine.step({1: frame})[1] for frame in sound(65, 8)] == alone(engine_of, sound(65, 8), slot=1, slots=2)


def test_a_snapshot_pickles_and_is_read_from_memory_that_may_not_be_written(engine_of: EngineOf) -> None:
    frames = sound(66, 30)
    again = pickle.loads(pickle.dumps(snapshot_of(engine_of(1), frames[:20])))
    for part in (again.text, again.codes, again.audio):
        part.setflags(write=False)
    engine = engine_of(1)
    engine.restore(0, again)
    assert told([engine.step({0: frame})[0] for frame in frames[20:]]) == told(alone(engine_of, frames)[20:])


def test_a_history_keeps_the_newest_and_its_snapshot_is_its_own(engine_of: EngineOf) -> None:
    frames = sound(67, 12)
    history, outputs = lived(engine_of(1), 0, frames, (5, 3), temperature=0.5, seed=4)
    snapshot = history.snapshot()
    history.add(frames[0], 1, outputs[0].codes)
    assert (snapshot.frames, snapshot.temperature, snapshot.seed) == (12, 0.5, 4)
    assert snapshot.text.tolist() == [o.token for o in outputs[6:]]
    assert snapshot.codes.tolist() == [list(o.codes) for o in outputs[7:]]
    np.testing.assert_array_equal(snapshot.audio, np.stack(frames[9:]))
    assert (history.frames, snapshot.codes.dtype, snapshot.audio.dtype) == (13, np.int32, np.float32)


def test_a_snapshot_of_another_model_is_refused_and_takes_no_slot(engine_of: EngineOf) -> None:
    good = snapshot_of(engine_of(1), sound(68, 9))
    engine = engine_of(1)
    for bad, why in (
        (replace(good, codes=good.codes[:, :2]), r"hears 4 codebooks, the snapshot's codes are \[9, 2\]"),
        (replace(good, audio=good.audio[:, :7]), r"frames of 12, the snapshot's are \[9, 7\]"),
        (replace(good, codes=good.codes + 32), "codes 0 to 31, the snapshot has"),
        (replace(good, text=good.text - 40), "text tokens 0 to 20, the snapshot has"),
    ):
        with pytest.raises(ValueError, match=why):
            engine.restore(0, bad)
    engine.restore(0, good)


def test_parts_that_do_not_belong_together_are_no_snapshot(engine_of: EngineOf) -> None:
    good = snapshot_of(engine_of(1), sound(69, 9))
    with pytest.raises(ValueError, match="9 columns of codes needs 10 text tokens, got 9"):
        replace(good, text=good.text[1:])
    with pytest.raises(ValueError, match="after 8 frames cannot hold 9 columns of codes"):
        replace(good, frames=8)
    with pytest.raises(ValueError, match="after 9 frames cannot hold 0 frames of audio"):
        replace(good, audio=good.audio[:0])


def test_keeping_snapshots_does_not_import_torch() -> None:
    code = "import sys, vivavoce.engine, vivavoce.engine.snapshot; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def spoken() -> Frames:
    """Digits for 19 seconds, four times what the embedded model sees at once."""
    audio = np.tile(load(EXAMPLE), 2)
    return list(audio[: len(audio) // FRAME_SIZE * FRAME_SIZE].reshape(-1, FRAME_SIZE)[:240])


RECEPTIVE = 3 * 25 + 3  # frames: three layers of 50 positions, and what the convolutions see


@pytest.mark.parametrize(
    ("audio_frames", "codes_frames", "codes_alike", "close"),
    [(RECEPTIVE, 200, 1.0, 1e-4), (RECEPTIVE, 50, 1.0, 0.15), (50, 50, 0.97, 0.15)],
    ids=["snapshot_frames: all that is heard", "the LM's context", "and twice the codec's window"],
)
def test_an_older_stream_says_the_same_words(
    embedded: SttEngine, spoken: Frames, audio_frames: int, codes_frames: int, codes_alike: float, close: float
) -> None:
    """Three seconds on from three points, two of them within a word."""
    history, outputs = History(embedded.open(0), codes_frames, audio_frames, 16), list[StepOutput]()
    snapshots = {}
    for at, frame in enumerate(spoken):
        if at in (100, 151, 199):
            snapshots[at] = history.snapshot()
        outputs.append(embedded.step({0: frame})[0])
        history.add(frame, outputs[-1].token, outputs[-1].codes)
    embedded.close(0)
    for at, snapshot in snapshots.items():
        expected = outputs[at : at + 38]
        embedded.restore(1, snapshot)
        got = [embedded.step({1: frame})[1] for frame in spoken[at : at + 38]]
        embedded.close(1)
        assert [o.token for o in got] == [o.token for o in expected]
        alike = np.mean([o.codes for o in got] == np.array([o.codes for o in expected]))
        assert alike >= codes_alike
        assert [o.logprob for o in got] == pytest.approx([o.logprob for o in expected], abs=close)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("before", [None, "int8", "int4"])
def test_a_stream_of_any_precision_goes_on_in_int4(spoken: Frames, before: str | None) -> None:
    """Within a word: a snapshot is what was heard and said, not what lies in the rings."""
    model, at = load_stt(device="cpu"), 151
    first, second = (SttEngine.fastest(model.mimi, model.lm, 1, packed=packed) for packed in (before, "int4"))
    history, _ = lived(first, 0, spoken[:at], first.snapshot_frames)
    outputs = [first.step({0: frame})[0] for frame in spoken[at : at + 76]]
    second.restore(0, history.snapshot())
    got = [second.step({0: frame})[0] for frame in spoken[at : at + 76]]
    assert len({o.token for o in got}) > 5
    assert [o.token for o in got] == [o.token for o in outputs]


def test_what_an_engine_wants_kept_follows_its_model(embedded: SttEngine, engine_of: EngineOf) -> None:
    assert embedded.snapshot_frames == (200, 78)
    assert engine_of(1).snapshot_frames == (14, 13)
