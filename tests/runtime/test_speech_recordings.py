"""Models without speaker embeddings, as the 0.75B: a voice is a recording that the speech goes on from, guidance is
computed twice."""

from __future__ import annotations

import asyncio
import wave
from asyncio import Runner
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from vivavoce.checkpoints import save_tts
from vivavoce.core import UnsupportedError
from vivavoce.runtime import Metrics, SpeechOptions, SpeechRuntime, SpeechSpec

from ..speech_models import PLAIN, small_tts
from .driver import ANY_LOAD, kill
from .test_speech import TEXT, audio, events, reached, same, spoken, words


@pytest.fixture(scope="module")
def runtime(runner: Runner, tokenizer: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpeechRuntime]:
    folder = tmp_path_factory.mktemp("plain") / "small"
    save_tts(small_tts(tokenizer, PLAIN), folder, dtype=torch.float32)
    (folder / "voices").mkdir()
    for seed, name in enumerate(("ada", "bob")):
        with wave.open(str(folder / "voices" / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 24_000, 0, "NONE", ""))
            noise = np.random.default_rng(seed).normal(0, 3_000, 12 * 1920 + 7)
            file.writeframes(noise.astype("<i2").tobytes())

    async def start() -> SpeechRuntime:
        runtime = SpeechRuntime(SpeechSpec(str(folder), "cpu", slots=2, threads=1), ANY_LOAD, Metrics())
        await runtime.start()
        await runtime.wait_ready()
        return runtime

    runtime = runner.run(start())
    yield runtime
    runner.run(runtime.stop())


def test_a_recording_is_a_voice_and_every_strength_of_guidance_is_heard(runner: Runner, runtime: SpeechRuntime) -> None:
    async def main() -> None:
        assert runtime.info
        assert (runtime.info.voices, runtime.info.voice, runtime.info.voice_shape) == (
            ("ada.wav", "bob.wav"), "ada.wav", None,
        )  # fmt: skip
        ada = await spoken(runtime, TEXT)
        others = [
            await spoken(runtime, TEXT, **change) for change in ({"voices": ("bob.wav",)}, {"cfg": 1.0}, {"cfg": 3.3})
        ]
        assert len({audio(heard).tobytes() for heard in (ada, *others)}) == 4
        assert [text for text, *_ in words(ada)] == TEXT.split()
        stream = runtime.open()
        with pytest.raises(UnsupportedError, match="takes no speaker embeddings"):
            stream.voice(np.zeros((5, 12), np.float32))
        stream.close()
        with pytest.raises(UnsupportedError, match="one voice in one stream, got 2"):
            runtime.open(SpeechOptions(voices=("ada.wav", "bob.wav")))

    runner.run(main())


def test_kill_9_in_the_middle_is_not_heard(runner: Runner, runtime: SpeechRuntime) -> None:
    async def main() -> None:
        alone = await spoken(runtime, TEXT, cfg=3.0)
        for steps in (2, 15, 30):
            stream = runtime.open(SpeechOptions(cfg=3.0))
            task = asyncio.create_task(events(stream, [TEXT]))
            await reached(stream, steps)
            kill(runtime)
            same(await task, alone)

    runner.run(main())
