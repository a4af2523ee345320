"""What `python -m build` makes, installed into empty virtual environments."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..example import EXAMPLE, SAID
from ..serving import serving
from . import ROOT

pytestmark = pytest.mark.slow  # the kernels are compiled afresh, and PyTorch is some 200 MB
CARRIED = {
    path.relative_to(ROOT / "src")
    for folder in ("models", "server/page")
    for path in (ROOT / "src" / "vivavoce" / folder).rglob("*")
    if path.is_file()
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment in which only the wheel was installed."""
    return installed(tmp_path_factory.mktemp("client"), str(wheel))


def installed(folder: Path, what: str) -> Path:
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", what]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(commands: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(commands / arguments[0]), *arguments[1:]]
    return subprocess.run(command, env=ENVIRONMENT, cwd=commands, capture_output=True, text=True, timeout=300)


def test_both_distributions_carry_the_models_the_page_and_the_licence(built: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {Path(name) for name in archive.namelist()}
    assert inside >= CARRIED
    assert {path.name for path in inside if ".dist-info" in str(path)} >= {"LICENSE", "NOTICE"}
    assert [path for path in inside if path.suffix == ".so"], "the kernels were compiled"
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        inside = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    assert inside >= {Path("src") / path for path in CARRIED}
    assert Path("deploy/docker/Dockerfile") in inside


def test_a_client_is_installed_without_torch_and_speaks_to_a_server(client: Path) -> None:
    listed = run(client, "pip", "list", "--format", "freeze").stdout.lower()
    assert "vivavoce" in listed
    assert not {"torch", "safetensors", "sentencepiece", "nvidia"} & {line.split("==")[0] for line in listed.split()}
    with serving("--tts-model", "none") as url:
        heard = run(client, "vivavoce", "stream", "--url", url.replace("http", "ws"), str(EXAMPLE))
    assert (heard.returncode, heard.stdout.strip()) == (0, SAID), heard.stderr


@pytest.mark.parametrize("command", ["transcribe", "say one --output -", "serve", "bench engine"])
def test_what_needs_a_model_says_what_to_install(client: Path, command: str) -> None:
    arguments = [*command.split(), *([str(EXAMPLE)] if command == "transcribe" else [])]
    refused = run(client, "vivavoce", *arguments)
    assert refused.returncode == 7
    assert refused.stderr.strip().endswith("pip install 'vivavoce[engine]'")
    assert len(refused.stderr.splitlines()) == 1


def test_the_wheel_in_an_empty_environment_serves(wheel: Path, tmp_path: Path) -> None:
    commands = installed(tmp_path / "engine", f"{wheel}[engine]")
    with served(commands) as url:
        heard = run(commands, "vivavoce", "stream", "--url", url, str(EXAMPLE))
    assert (heard.returncode, heard.stdout.strip()) == (0, SAID), heard.stderr


@contextmanager
def served(commands: Path) -> Iterator[str]:
    """`vivavoce serve` of that environment; its ws:// URL once it listens."""
    command = [str(commands / "vivavoce"), "serve", "--port", "0"]
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=commands, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            log = ""
            for line in process.stderr:
                log += line
                if "Ready after" in line:
                    break
            assert "Ready after" in log, log
            yield "ws://" + log.split("Listening on http://")[1].split()[0]
        finally:
            process.terminate()
            process.wait(60)
