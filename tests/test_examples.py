"""The scripts of examples/ as their first lines say that they are run, against a real server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vivavoce.client import transcribe

from .example import EXAMPLE, SAID
from .server.process import Server

EXAMPLES = EXAMPLE.parent
PATIENCE = 180  # seconds; a bound for what hangs, no measurement


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    flags = ("--slots", "2", "--tts-slots", "1", "--wyoming", "tcp://127.0.0.1:0", "--load-limit", "0")
    with Server(*flags, environment={"VIVAVOCE_TTS_MODEL": "tts-digits-en"}) as server:
        server.wait_ready()
        yield server


def run(script: str, *arguments: object) -> str:
    """What it prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def socket_of(server: Server) -> str:
    return "ws" + server.url.removeprefix("http")


def test_an_agent_answers_each_turn_and_stops_when_it_is_interrupted(server: Server, tmp_path: Path) -> None:
    """The recording goes on while the agent speaks; only its last answer is certain to be spoken to its end."""
    target = tmp_path / "said.wav"
    turns = run("voice_agent.py", socket_of(server), EXAMPLE, target).splitlines()
    assert len(turns) > 1
    assert " ".join(turns) == SAID
    assert transcribe(server.url, target).text.endswith(turns[-1])


@pytest.mark.parametrize("script", ["pipecat_bot.py", "livekit_agent.py"])
def test_a_frameworks_own_plugins_hear_and_speak(server: Server, tmp_path: Path, script: str) -> None:
    """Both of it: the words that it prints, and those of its voice."""
    target = tmp_path / "said.wav"
    assert run(script, socket_of(server), EXAMPLE, target).split() == SAID.split()
    assert transcribe(server.url, target).text == SAID


def test_captions_are_lines_with_times(server: Server) -> None:
    lines = run("live_captions.py", socket_of(server), EXAMPLE, 0).splitlines()
    assert all(re.fullmatch(r"00:\d\d\.\d\d [a-z ]{1,42}", line) for line in lines)
    assert " ".join(line[9:] for line in lines) == SAID


def test_a_recording_gets_its_subtitles(server: Server, tmp_path: Path) -> None:
    recording = Path(shutil.copy(EXAMPLE, tmp_path))
    assert run("subtitles.py", socket_of(server), recording) == str(recording.with_suffix(".srt"))
    text = recording.with_suffix(".srt").read_text()
    assert text.startswith("1\n00:00:0")
    assert re.sub(r"\d+\n[\d:,]+ --> [\d:,]+\n", "", text).split() == SAID.split()


def test_what_home_assistant_does(server: Server) -> None:
    found = re.search(r"Wyoming is spoken at (\S+) port (\d+)", server.text)
    assert found
    lines = run("home_assistant.py", found[1], found[2], "four one five").splitlines()
    assert lines == ["hears: stt-digits-en", "speaks: heart, michael", "heard: four one five"]


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text()
    assert all(f'"{script.name}"' in here for script in EXAMPLES.glob("*.py"))
