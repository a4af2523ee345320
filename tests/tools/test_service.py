"""Services: units that systemd's own tools accept, property lists that hold, and what is called in which order."""

from __future__ import annotations

import os
import plistlib
import re
import shlex
import shutil
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from vivavoce.core import VivavoceError
from vivavoce.server.wire import FAREWELL_SECONDS
from vivavoce.settings.limits import Limits
from vivavoce.tools import service
from vivavoce.tools.service import Launchd, Plan, Systemd

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")
PLANS = [
    Plan(),
    Plan(gpu=True),
    Plan(system=False),
    Plan("second", ("--slots", "4", "--instance-name", 'a "b" 100% $c')),
]


def vivavoce(*arguments: str, environment: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vivavoce", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


@needs_systemd
@pytest.mark.parametrize("plan", PLANS, ids=["plain", "gpu", "user", "quoted"])
def test_systemd_has_no_remark_on_a_unit(plan: Plan, tmp_path: Path) -> None:
    unit = tmp_path / "vivavoce.service"
    unit.write_text(Systemd(plan).text)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(("plan", "limit"), [(Plan(), 2.0), (Plan(gpu=True), 2.5)], ids=["plain", "gpu"])
def test_a_system_unit_is_well_shut(plan: Plan, limit: float, tmp_path: Path) -> None:
    """systemd's own score, from 0 (safe) to 10."""
    unit = tmp_path / "vivavoce.service"
    unit.write_text(Systemd(plan).text)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    score = re.search(r"exposure level for vivavoce.service: ([\d.]+)", told)
    assert score and float(score[1]) <= limit, told


def test_both_managers_wait_longer_than_the_server_drains() -> None:
    assert Limits().drain_seconds + FAREWELL_SECONDS < service.STOP_SECONDS


def test_a_property_list_runs_the_server_again_when_it_fails_only() -> None:
    told = plistlib.loads(Launchd(Plan(options=("--slots", "4"), system=False)).text.encode())
    assert told["ProgramArguments"] == [sys.executable, "-m", "vivavoce", "serve", "--slots", "4"]
    assert told["KeepAlive"] == {"SuccessfulExit": False} and told["RunAtLoad"] is True
    assert told["ExitTimeOut"] == service.STOP_SECONDS


@pytest.mark.parametrize("init", ["systemd", "launchd"])
def test_the_command_of_a_service_serves(init: str, tmp_path: Path) -> None:
    """What stands in the file is started as it stands there, in its folder."""
    options = ["--port", "0", "--tts-model", "none", "--instance-name", "a name"]
    told = vivavoce("install-service", "--print", "--init", init, "--user", "--", *options).stdout
    if init == "systemd":
        (line,) = [line for line in told.splitlines() if line.startswith("ExecStart=")]
        command = shlex.split(line.removeprefix("ExecStart="))
    else:
        command = plistlib.loads(told.encode())["ProgramArguments"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            line = next(line for line in process.stderr if "Listening on" in line)
            url = line.split("Listening on ")[1].strip()
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/api/status") as answer:
                assert '"instance":"a name"' in answer.read().decode()
        finally:
            process.terminate()
            process.communicate()


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """A home, and on the path a systemctl and a launchctl that write down how they were called.

    The real ones want to be process 1, or a Mac.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("systemctl", "launchctl"):
        script = folder / name
        script.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\ntest "$*" != "${{FAILS-}}"\n')
        script.chmod(0o755)
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }


def calls(machine: Mapping[str, str]) -> list[str]:
    """Since the last time."""
    file = Path(machine["HOME"]) / "calls"
    found = file.read_text().splitlines() if file.exists() else []
    file.write_text("")
    return found


def test_a_users_service_from_its_installation_to_its_end(machine: dict[str, str]) -> None:
    config = Path(machine["XDG_CONFIG_HOME"])
    unit, settings = config / "systemd" / "user" / "vivavoce.service", config / "vivavoce" / "vivavoce.env"
    done = vivavoce("install-service", "--user", "--", "--slots", "4", environment=machine)
    assert done.returncode == 0 and str(settings) in done.stdout, done.stderr
    assert "serve --slots 4" in unit.read_text() and f"EnvironmentFile=-{settings}" in unit.read_text()
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    steps = ["daemon-reload", "enable vivavoce.service", "restart vivavoce.service"]
    assert calls(machine) == [f"systemctl --user {step}" for step in steps]

    settings.write_text("VIVAVOCE_API_KEYS=mine\n")
    assert vivavoce("install-service", "--user", "--", "--slots", "8", environment=machine).returncode == 0
    assert "serve --slots 8" in unit.read_text() and settings.read_text() == "VIVAVOCE_API_KEYS=mine\n"
    calls(machine)

    for verb in ("stop", "start", "restart", "reload"):
        assert vivavoce("service", verb, "--user", environment=machine).returncode == 0
        assert calls(machine) == [f"systemctl --user {verb} vivavoce.service"]
    failing = machine | {"FAILS": "--user status --no-pager vivavoce.service"}
    assert vivavoce("service", "status", "--user", environment=machine).returncode == 0
    assert vivavoce("service", "status", "--user", environment=failing).returncode == 1
    calls(machine)

    assert vivavoce("service", "remove", "--user", environment=machine).returncode == 0
    assert not unit.exists() and settings.exists()
    assert calls(machine) == ["systemctl --user disable --now vivavoce.service", "systemctl --user daemon-reload"]


def test_an_agent_of_launchd_from_its_installation_to_its_end(
    machine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in machine.items():
        monkeypatch.setenv(name, value)
    agent, domain = Launchd(Plan(system=False)), f"gui/{os.getuid()}"
    agent.install()
    assert plistlib.loads(agent.file.read_bytes())["Label"] == "org.vivavoce.vivavoce"
    assert stat.S_IMODE(agent.settings.stat().st_mode) == 0o600
    assert calls(machine) == [f"launchctl bootstrap {domain} {agent.file}"]
    agent.install()  # the one that is loaded makes room
    verbs = [call.split()[1] for call in calls(machine)]
    assert verbs == ["print", "bootout", "bootstrap"]
    agent.call("reload")
    assert calls(machine) == [f"launchctl kill SIGUSR1 {domain}/org.vivavoce.vivavoce"]
    agent.remove()
    assert not agent.file.exists() and agent.settings.exists()
    assert [call.split()[1] for call in calls(machine)] == ["print", "bootout"]


def test_what_was_never_installed_cannot_be_started(machine: dict[str, str]) -> None:
    done = vivavoce("service", "start", "--user", "--name", "other", environment=machine)
    assert done.returncode == 1 and "no service other is installed" in done.stderr
    assert calls(machine) == []


def test_a_system_service_is_not_installed_from_somebodys_home() -> None:
    with pytest.raises(VivavoceError, match="/home/ann/venv/bin/python"):
        Systemd(Plan(python="/home/ann/venv/bin/python")).install()


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x"])
def test_a_name_that_no_manager_takes_is_refused(name: str) -> None:
    with pytest.raises(VivavoceError, match="letters"):
        Plan(name)
