"""`bench tts`: what its figures mean, on a clock of the test's own; the command, with a small model and a server."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vivavoce.bench.speech import RESERVE, Ear, Load, Run
from vivavoce.cli import main
from vivavoce.core import FRAME_SECONDS, ExitCode, Speech, WordSpoken

from ..serving import serving
from ..speech_folder import speaking_folder as speaking_folder

FRAME = Speech(np.zeros(1920, np.float32))


def heard(times: list[float], begun: float = 10.0) -> Run:
    ear = Ear(begun, connect=0.5)
    for time in times:
        ear.hear(FRAME, begun + time)
    ear.hear(WordSpoken("viva", 0.0, 0.1), begun)
    run = ear.run()
    assert isinstance(run, Run)
    return run


def test_a_stream_that_is_ahead_is_never_late() -> None:
    run = heard([0.3, 0.31, 0.32, 0.33])
    assert (run.connect, run.words) == (0.5, 1)
    assert run.first_audio == pytest.approx(0.3)
    assert run.wall == pytest.approx(0.33)
    assert run.audio == pytest.approx(4 * FRAME_SECONDS)
    assert run.rtf == pytest.approx(0.33 / 0.32)
    assert (run.late, run.kept_up) == (0.0, True)


def test_lateness_is_that_of_the_latest_frame_for_who_began_with_the_first() -> None:
    run = heard([1.0, 1.08, 1.16 + 0.1, 1.24, 1.32])
    assert run.late == pytest.approx(0.1)
    assert run.kept_up
    assert not heard([1.0, 1.08 + RESERVE + 0.01]).kept_up


def test_nothing_heard_is_no_run() -> None:
    assert Ear(0.0).run() == "no audio came"
    load = Load(2, ["no audio came", heard([0.1, 0.2])], 0.5)
    assert (len(load.runs), load.failures, load.passed) == (1, ["no audio came"], False)
    assert load.speed_x == pytest.approx(0.32)
    assert Load(1, ["refused"], 1.0).row()["first_audio_p95_ms"] is None


@pytest.fixture(scope="module")
def url(speaking_folder: Path) -> Iterator[str]:
    flags = ("--model", "none", "--tts-model", str(speaking_folder), "--tts-slots", "2", "--load-limit", "0")
    with serving(*flags, "--threads", "1") as url:
        yield url


def test_a_model_in_this_process(speaking_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "tts", "--model", str(speaking_folder), "--threads", "1", "--text", "viva voce", "-n", "1"]
    assert main([*arguments, "--streams", "1,3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["target"], told["capacity"]) == ("small", None)
    assert [(load["streams"], load["runs"], load["failed"]) for load in told["loads"]] == [(1, 1, 0), (3, 3, 0)]
    for run in told["loads"][1]["all"]:
        assert (run["connect"], run["words"]) == (None, 2)
        assert 0 < run["first_audio"] <= run["wall"]
    assert main([*arguments, "--streams", "2", "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["streams"], row["runs"]) == ("2", "2")
    assert float(row["first_audio_p50_ms"]) <= float(row["first_audio_p95_ms"])


def test_a_server_and_its_refusals(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("viva voce")
    arguments = ["bench", "tts", "--url", url, "--text", f"@{tmp_path / 'text'}", "-n", "1"]
    assert main([*arguments, "--streams", "1,4"]) == ExitCode.FAILURE
    table = capsys.readouterr().out
    assert "4 streams: capacity: " in table
    assert re.search(r"streams +kept up +failed +first ms +p95 +rtf", table)
    assert main([*arguments, "--ramp", "--ramp-max", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["capacity"] in (0, 1, 2)
    assert all(load["all"][0]["connect"] > 0 for load in told["loads"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--streams", "1,x"], ExitCode.USAGE, "'1,x' is not a list such as 1,4,16"),
        (["--streams", "0"], ExitCode.USAGE, "is not a list"),
        (["--ramp", "--streams", "1,2"], ExitCode.USAGE, "--ramp begins with one number"),
        (["--json", "--csv"], ExitCode.USAGE, "exclude each other"),
        (["--url", "ws://h", "--model", "x"], ExitCode.USAGE, "--model and --dtype are for a model in this process"),
        (["--url", "ws://127.0.0.1:9"], ExitCode.FAILURE, "connection refused: nothing listens there"),
        (["--text", "@missing", "--url", "ws://127.0.0.1:9"], ExitCode.FAILURE, "missing: cannot be read"),
    ],
)
def test_what_goes_wrong_is_one_line(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "tts", *arguments]) == code
    told = capsys.readouterr()
    assert message in told.err
    assert (told.out, len(told.err.splitlines())) == ("", 1)
