"""Running the command as a user does: its own process, its streams, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

STAND_IN = Path(__file__).with_name("stand_in.py")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@dataclass
class Command:
    """`vivavoce` with the stand-in model, in its own folder."""

    folder: Path
    mood: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=lambda: [sys.executable, str(STAND_IN)])

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "STAND_IN": self.mood, "PYTHONWARNINGS": "default", **self.variables}

    def __call__(self, *arguments: str, stdin: bytes = b"", mood: str | None = None) -> Ran:
        environment = {**self.environment, "STAND_IN": self.mood if mood is None else mood}
        done = subprocess.run(
            [*self.arguments, *arguments],
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.arguments, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )


@pytest.fixture
def vivavoce(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """record(name, seconds) writes noise into the command's folder."""

    def written(name: str, seconds: float = 1.0, level: float = 0.1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).uniform(-level, level, round(seconds * 8_000))
        soundfile.write(path, noise, 8_000)
        return path

    return written
