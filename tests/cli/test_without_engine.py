"""The command where the extra `engine` is not installed: its packages cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vivavoce.cli import ENGINE

from ..example import EXAMPLE, SAID
from ..serving import serving

HIDE = f"""
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ENGINE}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {ENGINE} else real(name, package)
"""


@pytest.fixture
def without_engine(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that has none of those packages."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vivavoce", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    "arguments",
    [["transcribe", str(EXAMPLE)], ["say", "one two", "--output", "-"], ["serve", "--port", "0"], ["bench", "engine"]],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_a_model_says_what_to_install(without_engine: dict[str, str], arguments: list[str]) -> None:
    done = run(without_engine, *arguments)
    assert done.returncode == 7
    assert done.stderr.endswith("pip install 'vivavoce[engine]'\n") and len(done.stderr.splitlines()) == 1


def test_a_client_does_without(without_engine: dict[str, str]) -> None:
    with serving("--tts-model", "none") as url:
        heard = run(without_engine, "stream", "--url", url.replace("http", "ws"), str(EXAMPLE))
        checked = run(without_engine, "smoke", "--url", url.replace("http", "ws"))
    assert (heard.returncode, heard.stdout.strip()) == (0, SAID), heard.stderr
    assert checked.returncode == 0, checked.stdout
