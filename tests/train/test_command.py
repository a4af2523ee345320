"""`vivavoce train`: from a corpus to a model that the other verbs load, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from vivavoce.core import SAMPLE_RATE, ExitCode
from vivavoce.train.plan import STAGES, UNHEARD


def vivavoce(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vivavoce", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_stage_runs_resumes_and_exports_a_model_that_transcribes(corpus: Path, tmp_path: Path) -> None:
    train = ["train", "stt", "--corpus", corpus, "--out", tmp_path / "run", "--steps", "4", "--export", tmp_path / "m"]
    done = vivavoce(*train)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*STAGES}
    assert vivavoce(*train).returncode == 0  # everything has been done
    soundfile.write(tmp_path / "quiet.wav", np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    heard = vivavoce("transcribe", "--model", tmp_path / "m", tmp_path / "quiet.wav")
    assert heard.returncode == 0, heard.stderr


def test_a_corpus_is_made_from_recordings_at_hand_and_missing_voices_are_named(tmp_path: Path, shared: Path) -> None:
    sources = ["--source", "speech", "--source", "kokoro"]
    made = vivavoce("train", "corpus", "--out", tmp_path, "--shared", shared, *sources)
    assert made.returncode == 0, made.stderr
    assert len((tmp_path / "speech" / "manifest.jsonl").read_text().splitlines()) > 50
    assert "Skipped kokoro" in made.stdout


def test_an_empty_corpus_is_one_clear_line(tmp_path: Path) -> None:
    done = vivavoce("train", "stt", "--corpus", tmp_path, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "holds no clips that say digits" in done.stderr


def test_a_library_that_training_wants_is_named_when_it_is_missing(tmp_path: Path) -> None:
    code = "import sys; sys.modules['jiwer'] = None; from vivavoce.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "train", "report", "--corpus", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (ExitCode.UNSUPPORTED, "")
    assert done.stderr == "vivavoce: jiwer is not installed: pip install 'vivavoce[train]'\n"


def test_leaving_somebody_out_runs_the_shorter_recipe_without_him(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = vivavoce("train", "stt", "--corpus", corpus, "--out", run, "--steps", "4", "--without", "crowd")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in run.iterdir()} == {*UNHEARD}
    for stage in UNHEARD:
        assert "crowd" in json.loads((run / stage / "recipe.json").read_text())["without"]
