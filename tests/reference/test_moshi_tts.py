"""Our text-to-speech engine against moshi's TTSModel, whole, on equal random weights in fp32: 200 greedy steps.

moshi's own state machine acts on both sides. What it forces is the same then only if all that the text head chose is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivavoce.bench.step import moshi_info
from vivavoce.checkpoints import TtsModel, save_tts
from vivavoce.engine import TtsEngine, TtsOptions
from vivavoce.engine.tts_stepper import PlainTts, TtsStepperOf, fastest_tts

from ..speech_models import DISTILLED, PLAIN, small_tts

pytest.importorskip("moshi.models.tts", reason="the reference package moshi is not installed")
STEPS = 200
SCRIPTS = [["viva voce by the living voice " * 30], ['by voice <break time="0.4s"/> living ' * 20, "viva " * 30]]
STEPPERS = (PlainTts, fastest_tts)  # the second is native, where kernels are
Peer = Callable[..., Any]


@pytest.fixture(scope="module")
def distilled(tokenizer: bytes) -> TtsModel:
    return small_tts(tokenizer)


@pytest.fixture(scope="module")
def plain(tokenizer: bytes) -> TtsModel:
    return small_tts(tokenizer, PLAIN)


@pytest.fixture
def moshi(tmp_path: Path) -> Peer:
    """moshi's TTSModel with the weights of one of ours, greedy, through its own loader."""

    def load(model: TtsModel, **how: Any) -> Any:
        from moshi.models.tts import TTSModel

        save_tts(model, tmp_path, dtype=torch.float32)
        how = {"temp": 0.0, "n_q": model.config.codebooks, "max_gen_length": STEPS} | how
        return TTSModel.from_checkpoint_info(moshi_info(tmp_path), dtype=torch.float32, **how)

    return load


def voice(seed: int, frames: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((frames, 12)).astype(np.float32)


def conditioned(peer: Any, voices: list[NDArray[np.float32]], cfg: float | None, folder: Path) -> Any:
    """moshi's attributes from voice files."""
    from safetensors.torch import save_file

    paths = [folder / f"{i}.safetensors" for i in range(len(voices))]
    for path, vectors in zip(paths, voices, strict=True):
        save_file({"speaker_wavs": torch.from_numpy(vectors.T.copy())[None]}, path)
    peer.max_speakers = 3
    return peer.make_condition_attributes(paths, cfg_coef=cfg)


def said_by_moshi(peer: Any, attributes: list[Any], prefixes: list[Tensor] | None = None) -> list[Any]:
    """Of each stream: pairs of chosen and fed text ids, and frames [n_q, frames]."""
    entries = [peer.prepare_script(script, padding_between=1) for script in SCRIPTS]
    result = peer.generate(entries, attributes, prefixes)
    frames = torch.cat(result.frames, -1)[:, 1:]
    return list(zip(result.logged_text_tokens, frames, strict=True))


def said_by_us(
    model: TtsModel, peer: Any, options: list[TtsOptions], steps: int = STEPS, how: TtsStepperOf = fastest_tts
) -> list[Any]:
    """The same, and the audio [samples]; the streams share the engine's batch."""
    engine, logged, frames, audio = TtsEngine(model, len(options), how), [], [], []
    states = [peer.machine.new_state(peer.prepare_script(script, padding_between=1)) for script in SCRIPTS]
    begins = [0 if option.prefix is None else len(option.prefix) for option in options]
    for slot, option in enumerate(options):
        engine.open(slot, option)
    for step in range(steps):
        acts = {
            slot: lambda choice, state=state, at=step + begin: peer.machine.process(at, state, choice)[0]
            for slot, (state, begin) in enumerate(zip(states, begins, strict=True))
        }
        results = engine.step(acts)
        logged.append([(results[slot].sampled, results[slot].token) for slot in range(len(options))])
        frames.append([results[slot].codes for slot in range(len(options))])
        audio.append([results[slot].audio for slot in range(len(options))])
    columns = torch.tensor(frames).permute(1, 2, 0)
    delays, most = model.lm.config.delays, max(model.lm.config.delays)
    skewed = [columns[:, q, delay : steps - most + delay] for q, delay in enumerate(delays)]
    sounds = [np.concatenate([a for a in stream if a is not None]) for stream in zip(*audio, strict=True)]
    return list(zip(map(list, zip(*logged, strict=True)), torch.stack(skewed, 1), sounds, strict=True))


def assert_same(ours: list[Any], theirs: list[Any], lead: int, codebooks: int = 4, begin: int = 0) -> None:
    """Chosen and fed text, and every code from the first audible frame on."""
    for (our_text, our_frames, _), (their_text, their_frames) in zip(ours, theirs, strict=True):
        assert our_text == their_text[begin:]
        found, expected = our_frames[:codebooks, lead:], their_frames[:codebooks, begin + lead :]
        assert torch.equal(found, expected)
        assert all(len(codes.unique()) > 8 for codes in found), [len(codes.unique()) for codes in found]
        assert {0, 3} <= {chosen for chosen, _ in our_text}
        assert len({fed for _, fed in our_text}) > 5


@pytest.mark.parametrize("cfg", [None, 1.0, 3.0])
def test_text_and_codes_are_moshis_with_voices_and_distilled_guidance(
    distilled: TtsModel, moshi: Peer, tmp_path: Path, cfg: float | None
) -> None:
    peer, voices = moshi(distilled), [[voice(1)], [voice(2), voice(3)]]
    attributes = [conditioned(peer, some, cfg or 2.0, tmp_path) for some in voices]
    options = [TtsOptions(voices=tuple(some), cfg=cfg, temperature=0, temperature_text=0) for some in voices]
    theirs = said_by_moshi(peer, attributes)
    for how in STEPPERS:
        ours = said_by_us(distilled, peer, options, how=how)
        assert_same(ours, theirs, distilled.config.delay_steps)
        assert not torch.equal(ours[0][1], ours[1][1])


def test_guidance_and_voice_change_what_is_said(distilled: TtsModel, moshi: Peer) -> None:
    peer, greedy = moshi(distilled), {"temperature": 0.0, "temperature_text": 0.0}
    options = [TtsOptions((voice(n),), cfg=cfg, **greedy) for n, cfg in ((1, 1.0), (1, 3.0), (2, 1.0))]
    said = [said_by_us(distilled, peer, [option] * 2, steps=40)[0][1].tolist() for option in options]
    assert said[0] != said[1] != said[2] != said[0]


@pytest.mark.parametrize("cfg", [1.0, 2.0])
@pytest.mark.parametrize("prefixed", [False, True])
def test_text_and_codes_are_moshis_with_prefix_and_real_guidance(
    plain: TtsModel, moshi: Peer, cfg: float, prefixed: bool
) -> None:
    """Guidance that costs a second row, which hears neither the text nor the prefix."""
    peer, frames = moshi(plain, cfg_coef=cfg), 20
    codes = torch.randint(0, 64, (2, frames, 4), generator=torch.Generator().manual_seed(5))
    text = torch.full((2, 1, frames), -1)
    prefixes = list(torch.cat([text, codes.mT], 1)) if prefixed else None
    theirs = said_by_moshi(peer, [], prefixes) if prefixed or cfg == 1 else said_by_moshi(peer, [])
    options = [
        TtsOptions(prefix=codes[i].int().numpy() if prefixed else None, cfg=cfg, temperature=0, temperature_text=0)
        for i in range(2)
    ]
    begin = frames if prefixed else 0
    for how in STEPPERS:
        ours = said_by_us(plain, peer, options, STEPS - begin, how)
        assert_same(ours, theirs, plain.config.delay_steps, begin=begin)


def test_real_guidance_with_voices_is_moshis(tokenizer: bytes, moshi: Peer, tmp_path: Path) -> None:
    """No released model is of this kind: its second row hears no voice either."""
    from dataclasses import replace

    conditions = replace(
        DISTILLED, conditioners=(DISTILLED.conditioners[0], DISTILLED.conditioners[2]), added=("control",)
    )
    model = small_tts(tokenizer, conditions)
    peer, voices = moshi(model, cfg_coef=1.5), [[voice(1)], [voice(2), voice(3)]]
    attributes = [conditioned(peer, some, None, tmp_path) for some in voices]
    for attribute in attributes:
        del attribute.text["cfg"]
    options = [TtsOptions(voices=tuple(some), cfg=1.5, temperature=0, temperature_text=0) for some in voices]
    assert_same(said_by_us(model, peer, options), said_by_moshi(peer, attributes), model.config.delay_steps)


def test_fewer_codebooks_are_moshis(tokenizer: bytes, moshi: Peer, tmp_path: Path) -> None:
    model = small_tts(tokenizer)
    peer = moshi(model, n_q=2)
    from dataclasses import replace

    model = replace(model, config=replace(model.config, codebooks=2))
    attributes = [conditioned(peer, [voice(1)], 2.0, tmp_path)] * 2
    options = [TtsOptions((voice(1),), temperature=0, temperature_text=0)] * 2
    assert_same(
        said_by_us(model, peer, options), said_by_moshi(peer, attributes), model.config.delay_steps, codebooks=2
    )


def test_one_text_stream_is_moshis(tokenizer: bytes, moshi: Peer) -> None:
    """Also no low rank, and a set of weights for each codebook."""
    from dataclasses import replace

    simple = replace(small_tts(tokenizer).lm.config.depformer, rank=0, schedule=(0, 1, 2, 3))  # type: ignore[type-var]
    model = small_tts(tokenizer, PLAIN, lm={"demux": False, "depformer": simple}, second_stream_ahead=0)
    peer = moshi(model)
    options = [TtsOptions(cfg=1.0, temperature=0, temperature_text=0)] * 2
    assert_same(said_by_us(model, peer, options), said_by_moshi(peer, []), model.config.delay_steps)


def test_the_padding_bonus_is_moshis(plain: TtsModel, moshi: Peer) -> None:
    peer = moshi(plain, padding_bonus=1.5)
    options = [TtsOptions(cfg=1.0, temperature=0, temperature_text=0, padding_bonus=1.5)] * 2
    assert_same(said_by_us(plain, peer, options), said_by_moshi(peer, []), plain.config.delay_steps)


def test_the_audio_is_moshis_decoding_of_its_frames(distilled: TtsModel, moshi: Peer, tmp_path: Path) -> None:
    """Within the codec's attention window, beyond which moshi's ring is a key short (spec/model.md §1.9)."""
    peer = moshi(distilled)
    attributes = [conditioned(peer, [voice(1)], 2.0, tmp_path)] * 2
    lead, frames = distilled.config.delay_steps, distilled.mimi.config.context // 2
    theirs = torch.stack([frames_of for _, frames_of in said_by_moshi(peer, attributes)])[:, :, lead : lead + frames]
    with torch.no_grad(), peer.mimi.streaming(2):
        expected = torch.cat([peer.mimi.decode(frame) for frame in theirs.split(1, -1)], -1)
    options = [TtsOptions((voice(1),), temperature=0, temperature_text=0)] * 2
    for (_, _, audio), sound in zip(said_by_us(distilled, peer, options), expected[:, 0], strict=True):
        assert audio.std() > 0.01
        torch.testing.assert_close(torch.from_numpy(audio[: frames * 1920]), sound, atol=1e-5, rtol=1e-5)
