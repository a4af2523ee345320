"""`vivavoce eval`: rates, times and exit codes, of a model and of a server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vivavoce.bench.scoring import character_errors
from vivavoce.core import ExitCode, Transcript, Word
from vivavoce.tools.evaluation import judged
from vivavoce.tools.manifest import Sample

from ..example import EXAMPLE, SAID
from ..serving import serving
from .conftest import Ran, Run

SAMPLES = st.text(alphabet="ab ", max_size=12)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two entries: one that is heard right, one whose text is another."""
    shutil.copy(EXAMPLE, tmp_path / "digits.flac")
    lines = [
        {"id": "right", "wav24k_path": "digits.flac", "ref_text": SAID},
        {"id": "wrong", "wav24k_path": "digits.flac", "ref_text": f"hello {SAID}"},
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def told(ran: Ran) -> dict[str, Any]:
    return json.loads(ran.out)


def test_rates_of_a_manifest(run: Run, manifest: Path) -> None:
    ran = run("eval", str(manifest), "--json")
    words = len(SAID.split())
    assert (ran.code, ran.err) == (0, "")
    summary = told(ran)["summary"]
    assert (summary["samples"], summary["failed"], summary["words"]) == (2, 0, 2 * words + 1)
    assert summary["wer"] == pytest.approx(1 / (2 * words + 1))
    assert summary["wer_mean"] == pytest.approx(1 / (words + 1) / 2)
    assert summary["cer"] == pytest.approx(6 / (2 * len(SAID) + 6))
    assert summary["rtf"] * summary["speed_x"] == pytest.approx(1)
    assert [(one["id"], one["word_errors"]) for one in told(ran)["results"]] == [("right", 0), ("wrong", 1)]


def test_people_see_what_was_not_heard(run: Run, manifest: Path) -> None:
    out = run("eval", str(manifest)).out
    assert f"right: 0.0%: {SAID}\n" in out
    assert "[-hello-]" in out
    assert "character error rate" in out


def test_the_gate(run: Run, manifest: Path) -> None:
    assert run("eval", str(manifest), "--wer-max", "0.5").code == 0
    assert run("eval", str(manifest), "--wer-max", "0.001").code == 2
    (manifest.parent / "alone").mkdir()
    shutil.copy(EXAMPLE, manifest.parent / "alone/digits.flac")
    ran = run("eval", str(manifest.parent / "alone"), "--wer-max", "0.5")
    assert ran.code == ExitCode.FAILURE
    assert "no reference" in ran.out


def test_what_is_missing_or_empty(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"id": "a", "wav24k_path": "gone.wav", "ref_text": ""}\n')
    ran = run("eval", "m.jsonl", "--json")
    assert ran.code == ExitCode.FILE_NOT_FOUND
    assert told(ran)["failures"] == [{"id": "a", "reason": f"{Path('gone.wav')}: no such file"}]
    (tmp_path / "empty.jsonl").write_text("")
    assert run("eval", "empty.jsonl").code == ExitCode.FAILURE
    assert run("eval", "none.jsonl").code == ExitCode.FILE_NOT_FOUND


def test_a_server_is_judged_with_its_waiting_times(run: Run, manifest: Path) -> None:
    with serving("--tts-model", "none") as url:
        ran = run("eval", str(manifest), "--url", url.replace("http", "ws"), "--rtf", "8", "--parallel", "2", "--json")
    assert ran.code == 0, ran.err
    summary = told(ran)["summary"]
    assert summary["wer"] == pytest.approx(1 / (2 * len(SAID.split()) + 1))
    assert {"first_token", "final_text", "flushed"} <= summary["waits"].keys()
    assert summary["waits"]["first_token"]["count"] == 2


def test_times_of_words_count_only_where_the_word_is_right() -> None:
    said = (("one", 0.0, 0.5), ("two", 1.0, 1.5), ("three", 2.0, 2.5))
    heard = Transcript((Word("one", 0.1, 0.5, 1), Word("ten", 1.9, 9.5, 1), Word("Three,", 2.3, 2.9, 1)), 3.0)
    found = judged(Sample("x", Path("x.wav"), "one two three", words=said), heard)
    assert (found.word_errors, found.words) == (1, 3)
    assert found.start_error == pytest.approx(0.2)
    assert found.stop_error == pytest.approx(0.2)


@given(SAMPLES, SAMPLES)
def test_character_errors_are_a_distance(one: str, other: str) -> None:
    there, back = character_errors(one, other)[0], character_errors(other, one)[0]
    assert there == back
    assert (there == 0) == (" ".join(one.split()) == " ".join(other.split()))
