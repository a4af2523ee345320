"""`vivavoce check`: a line and an exit code for recordings that are whole, broken, and none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vivavoce import audio
from vivavoce.cli import main
from vivavoce.core import ExitCode

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.flac"


def test_whole_broken_and_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    time = np.arange(24_000) / 24_000
    tone = (0.5 * np.sin(2 * np.pi * 200 * time) * np.minimum(1, np.minimum(time, 1 - time) * 20)).astype(np.float32)
    audio.save("whole.wav", tone)
    audio.save("cut.flac", tone[:12_345])
    assert main(["check", "whole.wav", str(EXAMPLE)]) == 0
    assert capsys.readouterr().out == f"whole.wav: whole\n{EXAMPLE}: whole\n"
    assert main(["check", "whole.wav", "cut.flac"]) == ExitCode.FAILURE
    assert "cut.flac: it ends at -" in capsys.readouterr().out
    assert main(["check", "missing.wav", "cut.flac"]) == ExitCode.FILE_NOT_FOUND
    told = capsys.readouterr()
    assert told.err == "vivavoce: missing.wav: no such file\n"
    assert main(["check", "cut.flac", "--json"]) == ExitCode.FAILURE
    (measured,) = json.loads(capsys.readouterr().out)
    assert measured["file"] == "cut.flac"
    assert measured["end_dbfs"] > -30
    assert measured["seconds"] == pytest.approx(12_345 / 24_000)
