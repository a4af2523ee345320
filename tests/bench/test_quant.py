"""`vivavoce bench quant`: real loads and real transcripts in every precision."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from vivavoce.cli import main
from vivavoce.core import ExitCode

from ..example import EXAMPLE


def test_size_falls_and_the_words_stay(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifest.jsonl").write_text(
        json.dumps({"wav24k_path": str(EXAMPLE), "ref_text": EXAMPLE.with_suffix(".txt").read_text()})
    )
    assert main(["bench", "quant", "manifest.jsonl", "--bits", "8", "--bits", "4", "--csv", "q.csv", "--json"]) == 0
    full, eight, four = json.loads(capsys.readouterr().out)["rows"]
    assert [row["way"] for row in (full, eight, four)] == ["float32", "int8", "int4"]
    assert full["weights_bytes"] > eight["weights_bytes"] > four["weights_bytes"] > 0
    assert (full["wer"], full["wer_full"], eight["wer"], eight["wer_full"]) == (0, 0, 0, 0)
    assert full["texts"] == eight["texts"]
    for row in (full, eight, four):
        assert row["audio_seconds"] == pytest.approx(11.5, abs=0.5)
        assert row["rtf"] == pytest.approx(row["generation_seconds"] / row["audio_seconds"])
        assert row["peak_bytes"] > row["weights_bytes"]
    with (tmp_path / "q.csv").open() as file:
        told = list(csv.DictReader(file))
    assert [(row["way"], int(row["weights_bytes"])) for row in told] == [
        (row["way"], row["weights_bytes"]) for row in (full, eight, four)
    ]


@pytest.mark.parametrize("arguments", [["--bits", "3"], ["--ways", "float32,fp7"]])
def test_precisions_that_do_not_exist(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "quant", *arguments]) == ExitCode.USAGE
    assert capsys.readouterr().out == ""


def test_a_recording_that_cannot_be_read_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    assert main(["bench", "quant", str(tmp_path / "bad.wav"), "--ways", "float32"]) == ExitCode.INVALID_AUDIO
    assert "bad.wav" in capsys.readouterr().err
