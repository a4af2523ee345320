"""A driver that knows GPUs, for machines without one, and the command in a folder of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from vivavoce.cli import main

DRIVER = Path(__file__).with_name("nvml.cpp")
NAME = "libnvidia-ml.so.1"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Loaded under the driver's name, so that NVIDIA's own Python package finds it when it asks for that."""
    target = tmp_path_factory.mktemp("driver") / NAME
    flags = ["-shared", "-fPIC", "-O1", f"-Wl,-soname,{NAME}"]
    subprocess.run(["c++", *flags, str(DRIVER), "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


@pytest.fixture
def run(
    tmp_path: Path, driver: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """run("doctor", gpus="L4,8,9,23034,22500") in an empty folder, on a machine with these GPUs; more are variables."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("VIVAVOCE_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def command(*arguments: str, gpus: str = "", **variables: str) -> Ran:
        with pytest.MonkeyPatch.context() as during:
            for name, value in {**variables, "NVML_GPUS": gpus}.items():
                during.setenv(name, value)
            code = main(list(arguments))
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return command
