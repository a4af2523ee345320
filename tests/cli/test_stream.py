"""`vivavoce stream` against the real server, one process each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vivavoce.cli.remote import explained
from vivavoce.client import ServerError
from vivavoce.core import ExitCode, Fault

from ..example import EXAMPLE, HEARD_WITH_TERM, SAID, TERM, doubtful
from ..serving import serving


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving("--slots", "4", "--load-limit", "0") as url:
        yield url


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "vivavoce", "stream", *map(str, arguments)]


def stream(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    return subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", ["", "/api/asr-streaming"])
def test_a_recording_becomes_text_and_nothing_else_is_said(server: str, path: str) -> None:
    ran = stream("--url", server + path, "--rtf", "0", EXAMPLE)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, SAID + "\n", "")


def test_a_key_term_goes_to_the_server_which_may_refuse_it(server: str, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy.wav"
    soundfile.write(noisy, doubtful(), 24_000, "FLOAT")
    assert stream("--url", server, "--rtf", "0", "--keyterm", TERM, noisy).stdout == HEARD_WITH_TERM + "\n"
    for path, term, why in (
        ("", "Kyutai", "cannot write the key term 'Kyutai'; its words are"),
        ("", "one:11", "above 0 and at most 5, that of 'one' is 11"),
        ("/api/asr-streaming", TERM, "key terms need /v1/stream"),
    ):
        ran = stream("--url", server + path, "--rtf", "0", "--keyterm", term, noisy)
        assert (ran.returncode, ran.stdout) == (ExitCode.UNSUPPORTED, "")
        assert why in ran.stderr


def test_several_recordings_keep_their_order_and_a_bad_one_costs_one_line(server: str, tmp_path: Path) -> None:
    short = tmp_path / "short.wav"
    samples, rate = soundfile.read(EXAMPLE)
    soundfile.write(short, samples[: 3 * rate], rate)
    (tmp_path / "bad.wav").write_text("no sound")
    files = [EXAMPLE, tmp_path / "bad.wav", short]
    ran = stream("--url", server, "--rtf", "0", "--parallel", "2", "--format", "jsonl", *files)
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [Path(result["file"]).name for result in results] == ["digits.flac", "short.wav"]
    assert results[0]["text"] == SAID
    assert results[0]["model"] == "stt-digits-en"
    assert ran.returncode == ExitCode.INVALID_AUDIO
    assert len(ran.stderr.splitlines()) == 1


def test_the_summary_and_the_silence_before(server: str) -> None:
    ran = stream(
        "--service", "local", "--rtf", "4", "--json", "--silence-prefix-ms", "1000", EXAMPLE, LOCAL_WS_URL=server
    )
    told = json.loads(ran.stdout)
    (result,) = told["results"]
    assert result["text"] == SAID
    assert result["words"][0]["start"] == pytest.approx(0.88, abs=0.2)  # of the recording
    assert result["duration"] == pytest.approx(11.47, abs=0.001)
    assert told["audio_seconds"] == pytest.approx(11.47, abs=0.001)
    assert told["rtf"] * told["speed_x"] == pytest.approx(1, abs=0.01)
    assert (told["reconnects"], told["gaps"]) == (0, 0)


def test_what_a_server_could_not_read_is_said_and_what_ends_a_stream_is_left_to_its_end() -> None:
    assert explained(ServerError(Fault.INVALID_MESSAGE, "sample 0 is 9e9")) == "the server complains: sample 0 is 9e9"
    assert explained(ServerError(Fault.CAPACITY, "every slot is taken")) is None


def test_an_interrupt_lets_the_last_words_come(server: str, tmp_path: Path) -> None:
    samples, rate = soundfile.read(EXAMPLE)
    long = tmp_path / "long.wav"
    soundfile.write(long, np.concatenate([samples, np.zeros(60 * rate)]), rate)
    process = subprocess.Popen(
        command("--url", server, "--rtf", "2", long, shutil.copy(EXAMPLE, tmp_path / "never.flac")),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(15)  # 30 s of the recording at most: all of its words, not all of its silence
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert set(SAID.split()) & set(out.split())
    assert "the last words follow" in err
    assert err.splitlines()[-1] == "vivavoce: interrupted"
    assert "\x1b" not in out + err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["x.wav"], ExitCode.USAGE, "give --url"),
        (["--service", "nowhere", "x.wav"], ExitCode.FAILURE, "--service nowhere: not known"),
        (["--url", "gopher://h", "x.wav"], ExitCode.FAILURE, "expected a URL"),
        (["--url", "ws://127.0.0.1:9/?token=hush", str(EXAMPLE)], ExitCode.FAILURE, "connection refused"),
        (["--url", "ws://h", "--json", "--format", "srt", "x.wav"], ExitCode.USAGE, "--json stands alone"),
        (["--url", "ws://h", "--rtf", "-1", "x.wav"], ExitCode.USAGE, "--rtf"),
    ],
)
def test_what_goes_wrong_is_one_line(arguments: list[str], code: int, message: str) -> None:
    ran = stream(*arguments)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert message in ran.stderr
    assert "hush" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
