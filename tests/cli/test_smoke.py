"""`vivavoce smoke`: passes on a server that works, names the step that does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vivavoce.core import ExitCode


def smoke(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vivavoce", "smoke", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_server_that_works_passes_every_step() -> None:
    ran = smoke("--json", "--", "--slots", "1")
    told = json.loads(ran.stdout)
    assert [(step["step"], step["passed"]) for step in told["steps"]] == [
        (name, True) for name in ("boot", "ready", "transcribe", "stop")
    ], told
    assert (ran.returncode, told["passed"], ran.stderr) == (0, True, "")


def test_other_words_than_expected_fail_and_the_server_is_stopped_all_the_same() -> None:
    ran = smoke("--expect", "good morning")
    assert ran.returncode == ExitCode.FAILURE
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert [line[:2] for line in lines] == [["ok", "boot"], ["ok", "ready"], ["FAIL", "transcribe"], ["ok", "stop"]]
    assert "expected “good morning”, heard “zero two" in ran.stdout


def test_a_server_that_does_not_start_is_said_in_its_own_words() -> None:
    ran = smoke("--", "--model", "/nowhere/at/all")
    assert ran.returncode == ExitCode.FAILURE
    assert "FAIL" in ran.stdout
    assert "/nowhere/at/all" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--wav", "missing.wav"], ExitCode.FILE_NOT_FOUND),
        (["--url", "ws://h", "--", "--slots", "1"], ExitCode.USAGE),
        (["--timeout", "1", "--url", "ws://127.0.0.1:9"], ExitCode.FAILURE),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert smoke(*arguments).returncode == code


def test_what_it_waits_for_is_said_at_once() -> None:
    ran = smoke("--timeout", "1", "--url", "ws://127.0.0.1:9")
    assert ran.stderr == "vivavoce: Connection refused; waiting 1 s for http://127.0.0.1:9/ready\n"
    result, step, waited, unit, _ = ran.stdout.split(maxsplit=4)
    assert (result, step, unit) == ("FAIL", "ready", "s") and float(waited) >= 1
    assert ran.stdout.endswith("not ready within 1 s: Connection refused\n")
