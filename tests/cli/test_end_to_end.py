"""The real command with a real model, small and with random weights: what it hears is nonsense, always the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vivavoce import Transcriber, audio
from vivavoce.checkpoints import SttModel, save_stt

from .conftest import Command

Record = Callable[..., Path]


@pytest.fixture(scope="session")
def model(make_model: Callable[..., SttModel], tokenizer: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "small"
    save_stt(make_model(), folder, tokenizer=tokenizer)
    return folder


@pytest.fixture
def real(vivavoce: Command) -> Command:
    vivavoce.arguments = [sys.executable, "-m", "vivavoce"]
    return vivavoce


def test_the_command_and_the_library_hear_the_same(real: Command, record: Record, model: Path) -> None:
    paths = [record("a.flac", 3.0), record("b.wav", 5.0)]

    ran = real("transcribe", "a.flac", "b.wav", "--model", str(model), "--device", "cpu", "--format", "json", "--vad")

    assert (ran.code, ran.err) == (0, "")
    transcriber = Transcriber.load(model, device="cpu")
    for path, found in zip(paths, json.loads(ran.out), strict=True):
        heard = transcriber.transcribe(path)
        assert found["model"] == "small"
        assert found["duration"] == round(heard.duration, 3)
        assert [(word["text"], word["start"]) for word in found["words"]] == [
            (word.text, round(word.start, 3)) for word in heard
        ]
        assert found["turns"] == [round(turn, 3) for turn in heard.turns]


def test_a_recording_that_breaks_off_is_one_line_and_not_the_others(real: Command, record: Record, model: Path) -> None:
    whole = record("cut.flac", 6.0)
    whole.write_bytes(whole.read_bytes()[:-9_000])
    record("good.wav", 1.0)

    ran = real("transcribe", "cut.flac", "good.wav", "--model", str(model), "--format", "jsonl")

    assert ran.code == 4
    assert ran.err.startswith("vivavoce: cut.flac: truncated: ")
    assert len(ran.err.splitlines()) == 1
    assert [json.loads(line)["file"] for line in ran.out.splitlines()] == ["good.wav"]


def test_a_folder_that_is_no_model_is_one_line(real: Command, record: Record, tmp_path: Path) -> None:
    record("a.wav")
    (tmp_path / "model").mkdir()

    ran = real("transcribe", "a.wav", "--model", "./model")

    assert (ran.code, ran.out) == (5, "")
    assert len(ran.err.splitlines()) == 1


def test_a_model_that_is_not_in_the_cache_while_offline_is_one_line(real: Command, record: Record) -> None:
    record("a.wav")
    real.variables = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(real.folder / "hub")}

    ran = real("transcribe", "a.wav", "--model", "kyutai/stt-1b-en_fr")

    assert (ran.code, ran.out) == (6, "")
    assert len(ran.err.splitlines()) == 1


def test_reading_for_the_library_and_the_command_is_the_same(record: Record) -> None:
    path = record("a.wav", 1.0)

    np.testing.assert_array_equal(np.concatenate(list(audio.blocks(path, 0.3))), audio.load(path))
