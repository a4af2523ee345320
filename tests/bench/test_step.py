"""`vivavoce bench engine`: the shape of its answer. What it measures depends on the machine and is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("moshi", reason="the reference package moshi is not installed")


def bench(*arguments: str, verb: str = "engine") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vivavoce", "bench", verb, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shape", ["embedded", "tts-tiny"])
def test_ours_and_the_peer_are_measured_in_one_run(shape: str) -> None:
    done = bench("--shape", shape, "--batch", "1,2", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["shape"], result["peer"]) == (shape, "moshi")
    assert [row["batch"] for row in result["rows"]] == [1, 2]
    for row in result["rows"]:
        assert row["ours_p95_ms"] >= row["ours_ms"] > 0
        assert row["ratio"] == pytest.approx(row["ours_ms"] / row["peer_ms"])


@pytest.mark.parametrize(
    ("option", "value"),
    [("--shape", "stt-9b"), ("--batch", "many"), ("--batch", "4,0"), ("--dtype", "int3"), ("--peer", "nobody")],
)
def test_a_wrong_value_is_named(option: str, value: str) -> None:
    done = bench(option, value)
    assert done.returncode == 2
    assert value in done.stderr


def test_the_language_model_is_measured_in_every_format_beside_the_peer() -> None:
    done = bench("--batch", "2", "--threads", "1", "--json", verb="lm")
    assert done.returncode == 0, done.stderr
    rows = {row["way"]: row for row in json.loads(done.stdout)["rows"]}
    theirs = [rows.pop(f"moshi {dtype}")["ms"] for dtype in ("float32", "bfloat16")]
    assert list(rows) == ["pytorch", "float32", "bfloat16", "int8", "int4"]
    for row in rows.values():
        assert row["ms"] > 0
        assert row["ratio"] == pytest.approx(row["ms"] / min(theirs))


def test_the_logits_of_every_format_are_told_with_their_error() -> None:
    done = bench("--accuracy", "--threads", "1", "--json", verb="lm")
    assert done.returncode == 0, done.stderr
    errors = {row["way"]: row["error"] for row in json.loads(done.stdout)["rows"]}
    assert errors["pytorch"] == 0
    assert errors["float32"] < 1e-5 < errors["bfloat16"] < errors["int8"] < errors["int4"] < 0.5


def test_a_packed_engine_is_measured_beside_the_peer_s_bfloat16() -> None:
    done = bench("--dtype", "int8", "--batch", "1", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["ratio"] > 0


@pytest.mark.parametrize(("option", "value"), [("--shape", "tts-tiny"), ("--ways", "int3"), ("--peer", "nobody")])
def test_a_wrong_value_of_the_language_model_is_named(option: str, value: str) -> None:
    done = bench(option, value, verb="lm")
    assert done.returncode == 2
    assert value in done.stderr
