"""A real sound system, and what is said to it and heard from it: PulseAudio with a speaker that nobody hears, whose
monitor is the microphone. Debian's packages pulseaudio, pulseaudio-utils, libasound2-plugins and libportaudio2.

It runs in real time: on a machine that is busy with something else, what is heard has gaps that are not ours."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vivavoce import audio

PROGRAMS = ("pulseaudio", "pactl", "parec", "paplay")
PLUGIN = Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")
PATIENCE = 120.0  # seconds: a model is loaded meanwhile
PIECE = 960  # samples that are looked for as one: a gap that a busy machine makes costs one or two of them
ALIKE = 0.85  # correlation; what is played at 44.1 kHz has been resampled twice
DIGITS = Path(__file__).parents[2] / "examples" / "digits.flac"
Samples = NDArray[np.float32]


def missing() -> str:
    """What a machine lacks for these tests."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    absent += [] if ctypes.util.find_library("portaudio") else ["libportaudio2"]
    absent += [] if next(PLUGIN, None) else ["libasound2-plugins"]
    return f"no sound system to be had: {', '.join(absent)} not installed" if absent else ""


LACKS = missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(LACKS), reason=LACKS)]


@dataclass
class Sounds:
    """The sound system, for as long as a test lasts."""

    environment: dict[str, str]

    def run(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def begin(self, *command: str, out: Path | None = None) -> subprocess.Popen[bytes]:
        with (out or Path(os.devnull)).open("wb") as file:
            return subprocess.Popen(command, env=self.environment, stdout=file, stderr=subprocess.DEVNULL)

    def vivavoce(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "vivavoce", *arguments]

    @contextmanager
    def recorded(self, path: Path) -> Iterator[None]:
        """All that is played meanwhile: float32 at 24 kHz."""
        form = ("--format=float32le", "--rate=24000", "--channels=1", "--latency-msec=50")
        recorder = self.begin("parec", "-d", "silent.monitor", *form, out=path)
        try:
            until(lambda: bool(self.run("pactl", "list", "short", "source-outputs")))
            begun, before = time.monotonic(), path.stat().st_size
            yield
            time.sleep(0.5)
            lasted, played = time.monotonic() - begun, (path.stat().st_size - before) / (4 * 24_000)
        finally:
            recorder.terminate()
            recorder.wait()
        if played < 0.9 * lasted:
            pytest.skip(
                f"the machine is too busy: its speaker played {played:.1f} s in {lasted:.1f} s, and lost the rest"
            )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sounds]:
    home = tmp_path_factory.mktemp("sound")
    (home / ".asoundrc").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
    socket = home / "socket"
    places = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PULSE_SERVER": f"unix:{socket}"}
    environment = os.environ | places | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    modules = ("module-null-sink sink_name=silent rate=24000", f"module-native-protocol-unix socket={socket}")
    sounds = Sounds(environment)
    daemon = sounds.begin(
        "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
        *(f"--load={module}" for module in modules),
    )  # fmt: skip
    until(socket.exists)
    yield sounds
    daemon.terminate()
    daemon.wait()


def found(said: Samples, heard: Samples) -> list[bool]:
    """For each piece of `said` that is no silence, whether `heard` has it behind the one before."""
    results, at = list[bool](), max(0, int((np.abs(heard) > 0.01).argmax()) - 2 * PIECE)
    for begin in range(0, len(said) - PIECE, PIECE):
        piece = said[begin : begin + PIECE]
        if np.abs(piece).max() < 0.02:
            continue
        rest = heard[at : at + 48_000]
        if len(rest) < PIECE:
            results.append(False)
            continue
        energy = np.convolve(rest**2, np.ones(PIECE, np.float32), "valid")
        likeness = np.correlate(rest, piece, "valid") / np.sqrt(np.maximum(energy, 1e-6) * (piece @ piece))
        results.append(bool(likeness.max() > ALIKE))
        at += int((likeness > ALIKE).argmax()) + PIECE - 100 if results[-1] else 0
    return results


def test_what_is_said_is_heard_on_a_speaker_to_its_end(sounds: Sounds, tmp_path: Path) -> None:
    with sounds.recorded(tmp_path / "heard"):
        text, output = "four one five, two two nine", str(tmp_path / "said.wav")
        sounds.run(*sounds.vivavoce("say", text, "--output", output, "--play"))
    pieces = found(audio.load(tmp_path / "said.wav"), np.fromfile(tmp_path / "heard", "<f4"))
    assert len(pieces) > 20
    assert np.mean(pieces) > 0.85
    assert pieces[-1]


def test_what_a_microphone_hears_is_kept_and_understood(sounds: Sounds, tmp_path: Path) -> None:
    spoken = audio.load(DIGITS)[: 4 * 24_000]
    audio.save(tmp_path / "spoken.wav", spoken)
    listening = sounds.vivavoce("mic", "--duration", "6", "--save-audio", str(tmp_path / "kept.wav"))
    process = sounds.begin(*listening, out=tmp_path / "text")
    until(lambda: bool(sounds.run("pactl", "list", "short", "source-outputs")))
    sounds.run("paplay", "--device=silent", str(tmp_path / "spoken.wav"))
    assert process.wait(PATIENCE) == 0
    pieces = found(spoken, audio.load(tmp_path / "kept.wav"))
    assert np.mean(pieces) > 0.85
    assert (tmp_path / "text").read_text().split()[:3] == ["zero", "two", "zero"]
