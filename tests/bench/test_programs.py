"""Where the bench commands find the programs of other packages."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from vivavoce.bench.programs import program


def script(folder: Path, name: str) -> str:
    file = folder / name
    file.write_text(f"#!{sys.executable}\n")
    file.chmod(0o755)
    return str(file)


def test_it_is_found_beside_a_python_whose_environment_is_not_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert program("py-spy") == str(Path(sysconfig.get_path("scripts")) / "py-spy")


def test_the_path_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    own = script(tmp_path, "py-spy")
    assert program("py-spy") == own


def test_what_is_nowhere_is_not_found() -> None:
    assert program("py-spy-of-nobody") is None
