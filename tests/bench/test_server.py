"""Both measurements against the real server with the embedded model. What they measure is not judged here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from vivavoce import audio
from vivavoce.bench.clip import EXAMPLE

from ..server.process import Server

SLOTS = 3
FIGURES = {"avg", "min", "p50", "p95", "p99", "max", "count"}
NOBODY = "ws://127.0.0.1:9"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Server("--slots", str(SLOTS)) as server:
        server.wait_ready()
        yield server.url.replace("http", "ws")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ "zero two", 1.5 s, with its text beside it."""
    path = tmp_path_factory.mktemp("clips") / "two.wav"
    soundfile.write(path, audio.load(EXAMPLE)[: 3 * 12_000], 24_000)
    path.with_name("two.wav.txt").write_text("zero two")
    return path


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vivavoce", "bench", *map(str, arguments)]
    clean = {name: value for name, value in os.environ.items() if name not in ("LOCAL_WS_URL", "MOSHI_JWT_TOKEN")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean)


def told(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_latency_tells_every_time_of_every_run(url: str, two: Path) -> None:
    done = bench("latency", "--url", url, "--wav", two, "-n", "2", "--rtf", "2", "--json")
    assert done.returncode == 0, done.stderr
    result = told(done)
    assert (result["pace"], result["parallel"]) == (2.0, 0)
    (target,) = result["targets"]
    assert (target["target"], target["failures"]) == (url, [])
    assert len(target["runs"]) == 2
    for run in target["runs"]:
        assert 0 < run["connect"] <= run["ready"] < run["total"]
        assert 0 < run["final_text"] <= run["flushed"]
        assert (run["clip"], run["text"], run["words"], run["wer"]) == ("two.wav", "zero two", 2, 0.0)
        assert run["rtf"] * run["speed_x"] == pytest.approx(1)
    for name in ("connect", "ready", "first_token", "speech_to_token", "final_text", "flushed", "total", "speed_x"):
        summary = target["summary"][name]
        assert set(summary) == FIGURES
        assert summary["count"] == 2
        assert summary["avg"] == pytest.approx(sum(run[name] for run in target["runs"]) / 2)


def test_capacity_starts_a_server_and_tells_one_row(two: Path) -> None:
    load = "--seconds", "1", "--streams", "1", "--step-max", "5000", "--latency-max", "20000"
    done = bench(
        "capacity", "--wav", two, *load, "--json", "--", "--slots", "2", "--dtype", "int8", "--tts-model", "none"
    )
    assert done.returncode == 0, done.stderr
    row = told(done)
    assert (row["model"], row["dtype"], row["streams"], row["capacity"]) == ("stt-digits-en", "int8", 2, 2)
    assert (row["wer"], row["differences"], row["limit"]) == (0.0, 0, "all slots were taken")
    assert row["step_p95_ms"] > 0


def test_capacity_tells_why_its_server_did_not_start() -> None:
    done = bench("capacity", "--", "--model", "random:stt-9b", "--tts-model", "none")
    assert done.returncode != 0
    assert "stt-9b is not one of" in done.stderr


def test_targets_are_compared_by_their_average_first_token(url: str, two: Path) -> None:
    other = f"{url}/api/asr-streaming"
    done = bench("latency", "--url", other, "--url", url, "--wav", two, "-p", "2", "-n", "1", "--json")
    assert done.returncode == 0, done.stderr
    targets = told(done)["targets"]
    assert {target["target"] for target in targets} == {url, other}
    averages = [target["summary"]["first_token"]["avg"] for target in targets]
    assert averages == sorted(averages)
    assert [len(target["runs"]) for target in targets] == [2, 2]


def test_in_a_pipe_latency_gives_plain_lines_and_marks_what_was_said_otherwise(url: str, two: Path) -> None:
    done = bench("latency", "--url", url, "--wav", two, "-n", "1", "--rtf", "4", "--expected", "zero one two nine")
    assert done.returncode == 0, done.stderr
    assert "two.wav (1 runs, word error rate 0.500): zero [-one-] two [-nine-]" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert re.search(r"^1/1  \S+  two\.wav  connect ", done.stderr, re.MULTILINE)
    assert re.search(r"^ final text, from the end of speech( +\d+\.\d){6} *$", done.stdout, re.MULTILINE)


def test_a_run_that_fails_is_told_and_fails_the_measurement(url: str, two: Path) -> None:
    done = bench("latency", "--url", NOBODY, "--url", url, "--wav", two, "-n", "1", "--rtf", "4", "--json")
    assert done.returncode == 1
    good, bad = told(done)["targets"]
    assert (good["target"], len(good["runs"]), good["failures"]) == (url, 1, [])
    assert (bad["target"], bad["runs"], bad["summary"]["first_token"]) == (NOBODY, [], None)
    assert "127.0.0.1" in bad["failures"][0]["reason"]


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_load_passes_and_no_word_differs_from_a_lone_streams(url: str, two: Path, processes: str) -> None:
    done = bench(
        "load", "--url", url, "--wav", two, "--streams", "2", "--seconds", "2", "--rtf", "0.5", "--processes",
        processes, "--differences-max", "0", "--wer-max", "0", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = told(done)
    (report,) = result["loads"]
    assert result["passed"] and report["passed"]
    assert (report["streams"], report["ran"], report["refused"], report["failed"]) == (2, 2, [], [])
    assert (report["wer"], report["lone_wer"], report["differences"], report["shifted"]) == (0, 0, 0, 0)
    assert report["audio_seconds"] == pytest.approx(2 * 2 * 1.5, abs=0.2)  # two streams, two passes
    assert report["flushed"]["count"] == 4
    for name in ("connect", "speech_to_token", "final_text", "flushed", "sent_late"):
        assert set(report[name]) == FIGURES
    assert report["steps"]["count"] > 0
    assert report["restarts"] == 0


def test_a_load_that_does_not_pass_says_why_and_exits_with_2(url: str, two: Path) -> None:
    done = bench(
        "load", "--url", url, "--wav", two, "--streams", "1", "--seconds", "1", "--expected", "four six", "--step-max",
        "0.001",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "gate: not passed" in done.stdout
    assert "word error rate 1.000, at most 0.25 allowed" in done.stdout
    assert re.search(r"step p95 \d+\.\d ms, at most 0.001 ms allowed", done.stdout)


def test_more_streams_than_slots_are_refused_and_the_others_run(url: str, two: Path) -> None:
    done = bench("load", "--url", url, "--wav", two, "--streams", str(SLOTS + 2), "--seconds", "1", "--json")
    assert done.returncode == 2, done.stderr
    (report,) = told(done)["loads"]
    assert (report["ran"], len(report["refused"]), report["failed"]) == (SLOTS, 2, [])
    assert all(line.startswith("capacity: ") for line in report["refused"])
    assert report["differences"] == 0


def test_a_ramp_ends_at_the_servers_slots_or_below(url: str, two: Path) -> None:
    done = bench(
        "load", "--url", url, "--wav", two, "--ramp", "--streams", "1", "--seconds", "1", "--rtf", "0.5",
        "--latency-max", "60000", "--json",
    )  # fmt: skip
    result = told(done)
    assert [report["streams"] for report in result["loads"]][:2] == [1, 2]
    assert result["capacity"] == max(report["streams"] for report in result["loads"] if report["passed"]) <= SLOTS
    assert done.returncode == 0


def test_where_no_server_is_nothing_runs(two: Path) -> None:
    done = bench("load", "--url", NOBODY, "--wav", two)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"vivavoce: {NOBODY}: ")


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["latency", "--expected", "a", "--expected-file", "b.txt"], 2, "--expected-file"),
        (["latency", "--wav", "a.wav", "--wav", "b.wav", "--expected", "a"], 2, "--expected"),
        (["latency", "--rtf", "0.1"], 2, "--rtf"),
        (["latency", "--wav", "absent.wav"], 3, "absent.wav"),
        (["load", "--url", "gopher://x"], 1, "gopher://x"),
        (["load", "--service", "nowhere"], 1, "nowhere"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], code: int, named: str) -> None:
    done = bench(*arguments)
    assert done.returncode == code
    assert named in done.stderr
    assert done.stdout == ""
