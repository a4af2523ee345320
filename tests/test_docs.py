"""What the documentation tells a reader to type is typed here, in the repository's root, as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .serving import serving

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HOURS = re.compile(r"vivavoce train (corpus|stt|report|tts|judge)")  # their parts have tests of their own


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, text in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL), 1):
            found.append((f"{page.name}#{number}", text))
    return found


def commands() -> list[tuple[str, str]]:
    return [(f"{where}: {line}", line) for where, text in blocks("bash") for line in text.strip().splitlines()]


@pytest.mark.parametrize("code", [pytest.param(text, id=where) for where, text in blocks("python")])
def test_a_python_example_runs(code: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """`vivavoce serve` as the pages start it, at a port that is free here; the port."""
    with serving() as url:
        yield url.rpartition(":")[2]


@pytest.mark.parametrize("line", [pytest.param(line, id=where) for where, line in commands()])
def test_a_command_runs(
    line: str, released_hub: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Kyutai's repositories are served from the loopback interface, with small random weights."""
    if ":8080" in line or line == "vivavoce serve":
        line = line.replace(":8080", f":{request.getfixturevalue('server')}")
        if line == "vivavoce serve":
            return  # it runs
    if line.startswith("make "):
        assert subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True).returncode == 0
        return
    if HOURS.search(line):
        line += " --help"
    for folder in ("examples", "configs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    environment = os.environ | released_hub | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = recipe[1].replace("$(BIN)", str(Path(sys.executable).parent))
    shown = subprocess.run(["bash", "-eu", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"```text\n{shown.stdout}```" in (ROOT / "README.md").read_text()
