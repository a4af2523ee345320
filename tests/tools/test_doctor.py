"""`vivavoce doctor`: the whole machine."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vivavoce.core import ExitCode
from vivavoce.tools import doctor

from ..serving import serving
from .conftest import Ran, Run


def told(ran: Ran) -> dict[str, list[dict[str, Any]]]:
    """The findings by topic."""
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(ran.out)["findings"]:
        found.setdefault(finding["topic"], []).append(finding)
    return found


@pytest.fixture
def port() -> Iterator[str]:
    """One that somebody else has, who is no server of ours."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield str(other.getsockname()[1])


def test_a_machine_where_all_is_well(run: Run) -> None:
    ran = run("doctor", "--json", "--port", "0")
    assert ran.code == 0, ran.out
    assert json.loads(ran.out)["healthy"] is True
    found = told(ran)
    assert {"system", "gpu", "cpu", "engine", "memory", "model", "limits", "microphone", "speaker"} <= found.keys()
    assert "native kernels" in found["engine"][0]["text"]
    assert [finding["text"].split(":")[0] for finding in found["model"]] == ["stt", "tts"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use a GPU here")
def test_a_gpu_that_torch_cannot_use_is_a_fault_with_a_command(run: Run) -> None:
    ran = run("doctor", "--json", "--port", "0", gpus="NVIDIA L4,8,9,23034,22500")
    assert ran.code == ExitCode.FAILURE
    (fault,) = [finding for finding in told(ran)["gpu"] if finding["state"] == "fault"]
    assert fault["advice"].startswith("pip install --force-reinstall")


def test_old_gpus_have_their_advice_and_their_exit_code(run: Run) -> None:
    ran = run("doctor", "--simulate", "sm75", "--port", "0", "--fail-on-pre-ampere")
    assert ran.code == 2
    assert "warn  gpu" in ran.out
    assert "vivavoce convert --sm75" in ran.out
    older = told(run("doctor", "--simulate", "6.1", "--port", "0", "--json"))["engine"][0]
    assert older["state"] == "warning"
    assert "6.1 is older than 7.0" in older["text"]


def test_a_port_that_somebody_has_is_a_fault(run: Run, port: str) -> None:
    ran = run("doctor", "--json", "--port", port)
    assert ran.code == ExitCode.FAILURE
    assert told(ran)["port"] == [
        {
            "topic": "port",
            "state": "fault",
            "text": f"127.0.0.1:{port} cannot be used: Address already in use",
            "advice": f"vivavoce serve --port {int(port) + 1}",
        }
    ]


def test_a_server_of_ours_that_runs_is_none(run: Run) -> None:
    with serving("--tts-model", "none") as url:
        ran = run("doctor", "--json", "--port", url.rpartition(":")[2])
    assert ran.code == 0, ran.out
    assert "runs there already" in told(ran)["port"][0]["text"]


def test_a_model_that_is_broken_missing_or_to_be_downloaded(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{")
    ran = run("doctor", "--json", "--port", "0", "--model", "broken")
    assert (ran.code, told(ran)["model"][0]["state"]) == (ExitCode.FAILURE, "fault")

    absent = run("doctor", "--json", "--port", "0", "--model", "kyutai/stt-1b-en_fr")
    assert absent.code == 0
    note = told(absent)["model"][0]
    assert (note["state"], note["advice"]) == ("note", "vivavoce model pull kyutai/stt-1b-en_fr")
    assert "2.4 GB to download" in told(absent)["disk"][0]["text"]

    offline = run("doctor", "--json", "--port", "0", "--model", "kyutai/stt-1b-en_fr", HF_HUB_OFFLINE="1")
    assert offline.code == ExitCode.FAILURE


def test_settings_that_are_wrong_or_leave_the_door_open(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("slots = 0\n")
    bad = run("doctor", "--json", "--config", "bad.toml")
    assert bad.code == ExitCode.FAILURE
    assert "slots" in told(bad)["settings"][0]["text"]

    ran = run("doctor", "--json", "--addr", "0.0.0.0", "--port", "0")
    assert ran.code == ExitCode.FAILURE
    advice = told(ran)["access"][0]["advice"]
    name, _, value = shlex.split(advice)[1].partition("=")
    assert value
    assert run("doctor", "--addr", "0.0.0.0", "--port", "0", **{name: "abc"}).code == 0


def test_a_client_without_pytorch_is_told_what_a_server_needs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pip install vivavoce` leaves a machine."""
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    ran = run("doctor", "--json", "--port", "0", gpus="NVIDIA L4,8,9,23034,22500")
    assert ran.code == ExitCode.FAILURE
    assert told(ran)["system"][0]["advice"] == "pip install 'vivavoce[engine]'"
    assert not told(ran).keys() & {"engine", "model"}


def test_few_open_files_are_said(run: Run, tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (270, hard))
    try:
        ran = run("doctor", "--json", "--port", "0")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told(ran)["limits"][0]["advice"] == "ulimit -n 65536"
