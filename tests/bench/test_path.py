"""`bench path` against real servers. What it measures is not judged here, but that every frame is answered is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vivavoce.bench.crowd import OfMoshi, OfStream, OfWords, framed

from .test_server import bench, told


def path(*arguments: str) -> subprocess.CompletedProcess[str]:
    return bench("path", "--seconds", "1", *arguments)


def test_every_frame_is_answered_in_both_dialects_and_each_process_is_accounted_for() -> None:
    done = path("--streams", "8,1", "--json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = told(done)["rows"]
    assert [(row["dialect"], row["streams"]) for row in rows] == [
        ("stream", 8), ("stream", 1), ("moshi", 8), ("moshi", 1),
    ]  # fmt: skip
    for row in rows:
        assert row["failed"] == []
        assert row["answered"] == row["asked"] == row["answer"]["count"] == 12 * row["streams"]
        assert row["answer"]["min"] > 0
        assert min(row["server_ms"], row["engine_ms"], row["clients_ms"]) >= 0
        assert row["steps"]["count"] > 0
    assert sum(row["server_ms"] for row in rows) > 0  # one stream's second is less than the system counts


def test_it_takes_a_real_model_and_shows_a_table() -> None:
    done = path("--streams", "2", "--dialect", "moshi", "--", "--model", "stt-digits-en", "--threads", "1")
    assert done.returncode == 0, done.stderr
    head, row = done.stdout.splitlines()
    assert head.startswith("dialect")
    assert row.split()[:3] == ["moshi", "1", "2"]


def test_where_words_alone_are_told_no_frame_has_to_be_answered() -> None:
    done = path("--streams", "4", "--dialect", "words", "--json")
    assert done.returncode == 0, done.stderr
    [row] = told(done)["rows"]
    assert (row["asked"], row["answered"], row["answer"], row["failed"]) == (0, 0, None, [])
    assert row["steps"]["count"] > 0


def test_workers_are_accounted_for_beside_the_main_process() -> None:
    done = path("--streams", "8", "--workers", "2", "--dialect", "stream", "--json", "--seconds", "3")
    assert done.returncode == 0, done.stderr
    [row] = told(done)["rows"]
    assert (row["workers"], row["answered"]) == (2, row["asked"])
    assert row["server_ms"] > row["main_ms"] >= 0


def test_a_flame_graph_that_has_no_place_is_refused_before_the_load() -> None:
    done = path("--streams", "1", "--dialect", "stream", "--flame", "/nowhere/flame.svg")
    assert done.returncode == 1
    assert done.stderr == "vivavoce: the flame graph cannot be written: there is no folder /nowhere\n"


def test_a_stream_that_is_not_let_in_is_a_clear_failure() -> None:
    done = path("--streams", "2", "--dialect", "stream", "--", "--slots", "1")
    assert done.returncode == 1
    assert "stream 2 was not let in: HTTP/1.1 503" in done.stderr


def may_look_into_processes() -> bool:
    """Where Linux restricts it (Yama), only root looks into a process that is not its own child."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


@pytest.mark.skipif(not may_look_into_processes(), reason="this system lets only root look into another process")
def test_a_flame_graph_shows_the_load_and_not_how_the_server_began(tmp_path: Path) -> None:
    picture = tmp_path / "flame.svg"
    done = path("--streams", "64", "--dialect", "stream", "--seconds", "3", "--flame", str(picture))
    assert done.returncode == 0, done.stderr
    drawn = picture.read_text()
    assert "PatientWebSocket.data_received" in drawn
    assert "_find_and_load" not in drawn  # imports


@pytest.mark.parametrize(
    "arguments",
    [
        ["--streams", "0"], ["--streams", "many"], ["--workers", "0"], ["--dialect", "deepgram"],
        ["--streams", "8,16", "--dialect", "stream", "--flame", "flame.svg"],
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_wrong_usage(arguments: list[str]) -> None:
    assert path(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("tongue", "message", "frame"),
    [
        (OfStream(), b'{"type":"vad","time":0.08,"pauses":[0.5]}', 1),
        (OfStream(), b'{"type":"vad","time":80.0,"pauses":[0.5]}', 1000),
        (OfStream(), b'{"type":"word","text":"la"}', None),
        (OfWords(), b'{"type":"word","text":"la"}', None),
        (OfMoshi(), b"\x84\xa4type\xa4Step\xa8step_idx\x07\xa3prs", 7),
        (OfMoshi(), b"\x84\xa4type\xa4Step\xa8step_idx\xcd\x01\x00\xa3prs", 256),
        (OfMoshi(), b"\x81\xa4type\xa5Ready", None),
    ],
)
def test_an_answer_is_known_by_its_frame(tongue: OfStream | OfMoshi, message: bytes, frame: int | None) -> None:
    assert tongue.answers(message) == frame


def test_a_message_of_the_crowd_is_one_masked_frame() -> None:
    assert framed(2, b"abc") == b"\x82\x83\0\0\0\0abc"
    assert framed(2, bytes(7680))[:8] == b"\x82\xfe\x1e\x00\0\0\0\0"
