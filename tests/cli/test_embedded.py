"""The whole command with the model inside the package: real recordings, real mistakes, one process each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

import vivavoce
from vivavoce.core import ExitCode

from ..example import EXAMPLE, HEARD_WITH_TERM, MISHEARD, SAID, TERM, doubtful

MODELS = Path(vivavoce.__file__).parent / "models"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def transcribe(*arguments: str | Path, stdin: bytes = b"") -> Ran:
    command = [sys.executable, "-m", "vivavoce", "transcribe", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def wav(path: Path, samples: np.ndarray, rate: int = 24_000) -> Path:
    soundfile.write(path, samples, rate, "FLOAT")
    return path


def test_a_recording_becomes_text_and_nothing_else_is_said() -> None:
    assert transcribe(EXAMPLE) == Ran(0, SAID + "\n", "")


def test_a_file_on_standard_input_is_read_whole() -> None:
    ran = transcribe("--format", "json", "-", stdin=EXAMPLE.read_bytes())
    result = json.loads(ran.out)
    assert (ran.code, result["text"]) == (0, SAID)
    assert result["model"] == "stt-digits-en"
    assert result["duration"] == pytest.approx(11.470, abs=0.001)
    assert [word["text"] for word in result["words"]] == SAID.split()
    assert all(0 <= word["start"] < word["stop"] <= result["duration"] for word in result["words"])


def test_a_key_term_decides_a_doubt_and_one_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    noisy = wav(tmp_path / "noisy.wav", doubtful())
    assert transcribe(noisy).out == MISHEARD + "\n"
    assert transcribe("--keyterm", TERM, "--keyterm", "nine:0.1", noisy).out == HEARD_WITH_TERM + "\n"
    ran = transcribe("--keyterm", "Kyutai", noisy)
    assert (ran.code, ran.out) == (ExitCode.UNSUPPORTED, "")
    assert ran.err.startswith("vivavoce: this model cannot write the key term 'Kyutai'; its words are zero, one, ")


def test_each_bad_file_costs_one_line_and_no_other_file(tmp_path: Path) -> None:
    good = shutil.copy(EXAMPLE, tmp_path / "good.flac")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "letter.wav").write_text("Dear reader, this is no sound.")
    (tmp_path / "cut.flac").write_bytes(EXAMPLE.read_bytes()[:50_000])
    wav(tmp_path / "nan.wav", np.array([0.0, np.nan] * 12_000, np.float32))
    wav(tmp_path / "silence.wav", np.zeros(48_000, np.float32))
    names = ["missing.wav", "empty.wav", "letter.wav", "cut.flac", "nan.wav", "silence.wav"]
    ran = transcribe("--format", "jsonl", *(tmp_path / name for name in names), good)
    results = {Path(r["file"]).name: r["text"] for r in map(json.loads, ran.out.splitlines())}
    assert results == {"silence.wav": "", "good.flac": SAID}
    assert ran.code == ExitCode.FILE_NOT_FOUND  # the first failure's
    lines = ran.err.splitlines()
    assert len(lines) == len(names)
    assert all(any(name in line for line in lines) for name in names)


def test_silence_is_no_failure(tmp_path: Path) -> None:
    ran = transcribe(wav(tmp_path / "silence.wav", np.zeros(48_000, np.float32)))
    assert (ran.code, ran.out.strip()) == (0, "")
    assert "silence only" in ran.err


def broken(tmp_path: Path, file: str, content: bytes) -> Path:
    model = shutil.copytree(MODELS / "stt-digits-en", tmp_path / "model")
    (model / file).write_bytes(content)
    return model


def test_an_unreadable_checkpoint_is_one_line_and_its_own_code(tmp_path: Path) -> None:
    ran = transcribe("--model", broken(tmp_path, "model.safetensors", b"not weights"), EXAMPLE)
    assert (ran.code, ran.out) == (ExitCode.CHECKPOINT, "")
    assert len(ran.err.splitlines()) == 1
    assert "model.safetensors" in ran.err


def test_a_wrong_tokenizer_is_one_line_and_its_own_code(tmp_path: Path, tokenizer: bytes) -> None:
    ran = transcribe("--model", broken(tmp_path, "tokenizer.model", tokenizer), EXAMPLE)
    assert (ran.code, ran.out) == (ExitCode.CHECKPOINT, "")
    assert len(ran.err.splitlines()) == 1
    assert "tokenizer.model" in ran.err


def test_a_language_the_model_does_not_know_is_refused() -> None:
    assert transcribe("--language", "en", EXAMPLE).out == SAID + "\n"
    ran = transcribe("--language", "fr", EXAMPLE)
    assert (ran.code, ran.out) == (ExitCode.UNSUPPORTED, "")


def test_the_same_words_alone_and_in_a_batch(tmp_path: Path) -> None:
    files = [shutil.copy(EXAMPLE, tmp_path / f"{i}.flac") for i in range(3)]
    ran = transcribe("--batch-size", "2", "--format", "jsonl", *files)
    assert [json.loads(line)["text"] for line in ran.out.splitlines()] == [SAID] * 3
