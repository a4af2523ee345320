"""The embedded voice, heard by the embedded recogniser: what its card promises, with room for other rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vivavoce import Synthesizer, Transcriber
from vivavoce.checkpoints import TtsModel, load_stt, load_tts
from vivavoce.checkpoints.voices import Voices
from vivavoce.core import FRAME_RATE
from vivavoce.train.evaluate import transcribe
from vivavoce.train.speak.judge import END, error_rate, level, random_lines
from vivavoce.train.speak.say import Spoken, say

MOST = 15.0  # percent; the card has the figure over more strings


@pytest.fixture(scope="module")
def model() -> TtsModel:
    return load_tts(device="cpu")


@pytest.fixture(scope="module")
def voices(model: TtsModel) -> Voices:
    return Voices(Path(model.files["lm"]).parent / "voices", model.config, model.voice_dim)


@pytest.fixture(scope="module")
def spoken(model: TtsModel, voices: Voices) -> list[Spoken]:
    return say(model, random_lines(model, voices, 40, seed=9))


def test_it_has_a_woman_and_a_man(voices: Voices) -> None:
    assert voices.names == ("heart", "michael")
    assert voices.default == "heart"


def test_its_folder_is_at_most_25_megabytes(model: TtsModel) -> None:
    folder = Path(model.files["lm"]).parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 25e6


def test_the_recogniser_understands_it(spoken: list[Spoken]) -> None:
    transcriber = Transcriber(load_stt(device="cpu"), batch_size=16)
    heard = [[word.text for word in words] for words in transcribe(transcriber, [one.audio for one in spoken])]
    wrong, words = error_rate(spoken, heard)
    assert words > 150
    assert wrong <= MOST


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_packed_weights_speak_too(dtype: str) -> None:
    said = Synthesizer.load(device="cpu", dtype=dtype, batch_size=1).say("four one five, two two nine")
    assert Transcriber.load(device="cpu").transcribe(said.samples).text == "four one five two two nine"


def test_it_neither_clicks_nor_hums_at_its_ends(spoken: list[Spoken]) -> None:
    assert max(level(one.audio[: END // 4]) for one in spoken) < -40
    assert float(np.median([level(one.audio[-END:]) for one in spoken])) < -50


def test_words_keep_a_natural_pace(spoken: list[Spoken]) -> None:
    steps = [b - a for one in spoken for a, b in zip(one.starts, one.starts[1:], strict=False)]
    assert 3.0 < float(np.mean(steps)) * FRAME_RATE < 6.0
