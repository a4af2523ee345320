"""What is spoken, where its sound begins and ends, and what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vivavoce.bench import clip
from vivavoce.core import AudioNotFoundError, InvalidAudioError, VivavoceError


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """0.5 s of nothing, 1 s of a tone, 0.7 s of a hum 60 dB below it."""
    tone = np.sin(np.arange(24_000) * 0.05)
    samples = np.concatenate([np.zeros(12_000), tone, 0.001 * tone[:16_800]])
    soundfile.write(tmp_path / "talk.wav", samples * 0.5, 24_000)
    return tmp_path / "talk.wav"


def test_the_last_sample_is_the_end_of_speech(recorded: Path) -> None:
    found = clip.load(recorded)
    assert (found.name, found.onset, found.duration) == ("talk.wav", 0.5, 1.5)


def test_the_example_says_what_its_text_says() -> None:
    found = clip.load()
    assert found.onset == pytest.approx(0.85, abs=0.03)  # examples/README.md, by forced alignment
    assert found.duration == pytest.approx(10.62, abs=0.03)
    assert found.reference is not None
    assert len(found.reference.split()) == 22


def test_the_reference_is_what_was_given_else_a_text_beside_the_recording(recorded: Path) -> None:
    assert clip.load(recorded).reference is None
    recorded.with_suffix(".txt").write_text("one\n")
    assert clip.load(recorded).reference == "one"
    recorded.with_name("talk.wav.txt").write_text("two")
    assert clip.load(recorded).reference == "two"
    assert clip.load(recorded, "three").reference == "three"


def test_what_cannot_be_spoken_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(2_400), 24_000)
    with pytest.raises(InvalidAudioError, match=r"silent\.wav: silence only"):
        clip.load(tmp_path / "silent.wav")
    with pytest.raises(AudioNotFoundError):
        clip.load(tmp_path / "absent.wav")
    with pytest.raises(VivavoceError, match=r"absent\.txt: the reference text cannot be read"):
        clip.read_text(tmp_path / "absent.txt")
