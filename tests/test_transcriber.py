"""The Python API of speech to text: what it refuses, in words; what it hears is tested with the embedded model."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from vivavoce import Transcriber
from vivavoce.checkpoints import SttModel, load_stt
from vivavoce.core import InvalidAudioError, UnsupportedError

SECOND = np.zeros(24_000, np.float32)


@pytest.fixture(scope="module")
def model() -> SttModel:
    return load_stt(device="cpu")


@pytest.fixture(scope="module")
def transcriber(model: SttModel) -> Transcriber:
    return Transcriber(model, batch_size=2)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"temperature": -1.0}, "temperature must be finite and not negative, got -1"),
        ({"temperature": float("nan")}, "temperature must be finite and not negative, got nan"),
        ({"seed": -1}, r"seed must be from 0 to 2\^63 - 1, got -1"),
        ({"seed": 2**63}, r"seed must be from 0 to 2\^63 - 1, got 9223372036854775808"),
        ({"guard": "perhaps"}, "guard must be flag or drop, got 'perhaps'"),
        ({"vad_head": 4}, "vad_head 4 does not exist"),
        ({"vad_threshold": 2.0}, "vad_threshold must be a probability from 0 to 1, got 2.0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wish_that_no_model_can_follow(model: SttModel, wish: dict[str, Any], why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        Transcriber(model, batch_size=1, **wish).transcribe(SECOND)


def test_the_largest_seed_is_good_for_several_recordings(model: SttModel) -> None:
    last = Transcriber(model, batch_size=2, temperature=0.5, seed=2**63 - 1)
    heard = dict(last.transcribe_all([lambda: iter([SECOND]), lambda: iter([SECOND])]))
    assert heard.keys() == {0, 1}
    assert not any(isinstance(result, Exception) for result in heard.values())


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (SECOND.astype(np.int16), r"samples must be floats of shape \[n\] or \[n, channels\], got int16 \[24000\]"),
        (SECOND.reshape(2, 3, -1), r"got float32 \[2, 3, 4000\]"),
        (SECOND + 20_000, "a sample is ±20000; audio lies between -1 and 1, 16-bit integers are divided by 32768"),
        (SECOND + np.nan, "audio must be finite"),
    ],
    ids=["integers", "three dimensions", "integers as floats", "no numbers"],
)
def test_what_is_no_audio(transcriber: Transcriber, samples: np.ndarray, why: str) -> None:
    with pytest.raises(InvalidAudioError, match=why):
        transcriber.transcribe(samples)


@pytest.mark.parametrize("rate", [0, -8_000, 10, 10**9, float("nan")])
def test_an_impossible_sample_rate(transcriber: Transcriber, rate: int) -> None:
    with pytest.raises(InvalidAudioError, match=f"a sample rate of {rate} Hz; 1000 to 1536000 Hz can be audio"):
        transcriber.transcribe(SECOND, sample_rate=rate)


@pytest.mark.parametrize("what", ["Transcriber", "Synthesizer"])
def test_loading_leaves_the_compiler_of_torch_alone(what: str) -> None:
    """Its import takes longer than all else; certain operations on the meta device make PyTorch want it."""
    code = f"import sys, vivavoce; vivavoce.{what}.load(batch_size=1); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
