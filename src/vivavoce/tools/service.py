"""The server as a service of the machine: what systemd or launchd is told, and how."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vivavoce.core import UnsupportedError, VivavoceError

Kind = Literal["systemd", "launchd"]
Command = list[str]
STOP_SECONDS = 45  # the server drains for 30 and says farewell for 5
HOPELESS = "2 3 5 7"  # exit codes of a wrong setting, a file or model that is not there: trying again mends nothing
SETTINGS = "# Settings of the service, one NAME=VALUE a line: docs/configuration.md\n# VIVAVOCE_API_KEYS=\n"


@dataclass(frozen=True)
class Plan:
    """What is to run, and for whom."""

    name: str = "vivavoce"
    options: tuple[str, ...] = ()  # of `vivavoce serve`
    system: bool = True  # for the machine, else for this user
    gpu: bool = False  # the sandbox lets it have NVIDIA's devices
    python: str = sys.executable

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):
            raise VivavoceError(f"a service's name has letters, digits, - and _, not {self.name!r}")

    @property
    def command(self) -> Command:
        return [self.python, "-m", "vivavoce", "serve", *self.options]


class Manager(ABC):
    """Who starts the service: where its files are and what is called."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @property
    @abstractmethod
    def file(self) -> Path:
        """The unit, or the property list."""

    @property
    @abstractmethod
    def settings(self) -> Path:
        """The file of variables, secrets among them: only its owner reads it."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What stands in `file`."""

    @abstractmethod
    def commands(self, verb: str) -> list[Command]:
        """What `install`, `start`, `stop`, `restart` and `status` call; removing it, `unload` before its file is gone
        and `forget` behind."""

    def install(self) -> None:
        """Write the files (settings that are there stay) and start. Raises VivavoceError."""
        try:
            self.settings.parent.mkdir(parents=True, exist_ok=True)
            if not self.settings.exists():
                self.settings.touch(mode=0o600)
                self.settings.write_text(SETTINGS)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            beside = self.file.with_name(f".{self.file.name}.new")
            beside.write_text(self.text)
            beside.replace(self.file)
        except OSError as error:
            raise VivavoceError(f"{error.filename}: {error.strerror}; --user installs it for you alone") from None
        self.call("install")

    def remove(self) -> None:
        """Stop it and delete its file; the settings stay. Raises VivavoceError."""
        self.call("unload")
        self.file.unlink()
        for command in self.commands("forget"):
            run(command)

    def call(self, verb: str) -> None:
        """Raises VivavoceError where a command is not there or fails; what it says comes on standard error."""
        if verb != "install" and not self.file.is_file():
            raise VivavoceError(f"no service {self.plan.name} is installed: {self.file} does not exist")
        for command in self.commands(verb):
            run(command)


class Systemd(Manager):
    """A system unit in a sandbox under a user of its own, or a unit of this user."""

    @property
    def file(self) -> Path:
        folder = Path("/etc/systemd/system") if self.plan.system else _config() / "systemd" / "user"
        return folder / f"{self.plan.name}.service"

    @property
    def settings(self) -> Path:
        return (Path("/etc") if self.plan.system else _config()) / "vivavoce" / f"{self.plan.name}.env"

    @property
    def text(self) -> str:
        lines = [*self._unit(), "", "[Service]", *self._service()]
        if self.plan.system:
            lines += [
                "",
                *(line.format(name=self.plan.name) for line in SANDBOX),
                *(GPU if self.plan.gpu else NO_DEVICES),
            ]
        target = "multi-user.target" if self.plan.system else "default.target"
        return "\n".join([*lines, "", "[Install]", f"WantedBy={target}", ""])

    def _unit(self) -> list[str]:
        lines = ["[Unit]", "Description=vivavoce: live speech to text and text to speech"]
        if self.plan.system:
            lines += ["Wants=network-online.target", "After=network-online.target"]
        return lines

    def _service(self) -> list[str]:
        return [
            "Type=exec",
            f"ExecStart={' '.join(map(_quoted, self.plan.command))}",
            "ExecReload=/bin/kill -USR1 $MAINPID",
            f"EnvironmentFile=-{self.settings}",
            "Restart=on-failure",
            "RestartSec=5",
            f"RestartPreventExitStatus={HOPELESS}",
            "# The server ends its engines itself, when the open streams have ended.",
            "KillMode=mixed",
            f"TimeoutStopSec={STOP_SECONDS}",
            "LimitNOFILE=65536",
            "NoNewPrivileges=yes",
        ]

    def commands(self, verb: str) -> list[Command]:
        systemctl = ["systemctl"] if self.plan.system else ["systemctl", "--user"]
        unit = self.file.name
        match verb:
            case "install":
                return [[*systemctl, "daemon-reload"], [*systemctl, "enable", unit], [*systemctl, "restart", unit]]
            case "status":
                return [[*systemctl, "status", "--no-pager", unit]]
            case "unload":
                return [[*systemctl, "disable", "--now", unit]]
            case "forget":
                return [[*systemctl, "daemon-reload"]]
            case "stop" | "start" | "restart" | "reload":
                return [[*systemctl, verb, unit]]
        raise AssertionError(verb)

    def install(self) -> None:
        if self.plan.system and (home := _home_of(self.plan.python)):
            raise VivavoceError(
                f"a system service cannot read {home}: install vivavoce elsewhere (python3 -m venv /opt/vivavoce), or "
                "for yourself with --user"
            )
        super().install()


class Launchd(Manager):
    """An agent of this user, or a daemon of the machine."""

    @property
    def label(self) -> str:
        return f"org.vivavoce.{self.plan.name}"

    @property
    def file(self) -> Path:
        return self._library / ("LaunchDaemons" if self.plan.system else "LaunchAgents") / f"{self.label}.plist"

    @property
    def settings(self) -> Path:
        """launchd reads no such file, but the server does: the `.env` of the folder in which it starts."""
        return self._library / "Application Support" / "vivavoce" / self.plan.name / ".env"

    @property
    def text(self) -> str:
        log = self._library / "Logs" / f"vivavoce-{self.plan.name}.log"
        return plistlib.dumps(
            {
                "Label": self.label,
                "ProgramArguments": self.plan.command,
                "WorkingDirectory": str(self.settings.parent),
                "EnvironmentVariables": {"PYTORCH_ENABLE_MPS_FALLBACK": "1"},
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "ThrottleInterval": 10,
                "ExitTimeOut": STOP_SECONDS,
                "ProcessType": "Interactive",  # a step has 80 ms: the processor is not to be taken away
                "StandardErrorPath": str(log),
            },
            sort_keys=False,
        ).decode()

    def commands(self, verb: str) -> list[Command]:
        domain = "system" if self.plan.system else f"gui/{os.getuid()}"
        load, unload = (
            ["launchctl", "bootstrap", domain, str(self.file)],
            ["launchctl", "bootout", f"{domain}/{self.label}"],
        )
        match verb:
            case "install" | "start":
                return [load]
            case "stop":
                return [unload]
            case "restart":
                return [["launchctl", "kickstart", "-k", f"{domain}/{self.label}"]]
            case "reload":
                return [["launchctl", "kill", "SIGUSR1", f"{domain}/{self.label}"]]
            case "status":
                return [["launchctl", "print", f"{domain}/{self.label}"]]
            case "unload":
                return [unload] if self._loaded else []
            case "forget":
                return []
        raise AssertionError(verb)

    def install(self) -> None:
        if self.file.is_file():  # an older one that is loaded would keep the new one out
            self.call("unload")
        super().install()

    @property
    def _loaded(self) -> bool:
        return subprocess.run(self.commands("status")[0], check=False, capture_output=True).returncode == 0

    @property
    def _library(self) -> Path:
        return Path("/Library") if self.plan.system else Path.home() / "Library"


SANDBOX = (
    "DynamicUser=yes",
    "StateDirectory={name}",
    "WorkingDirectory=%S/{name}",
    "CacheDirectory={name}",
    "Environment=HF_HOME=%C/{name} TRITON_CACHE_DIR=%C/{name}/triton",
    "UMask=0077",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "CapabilityBoundingSet=",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "# Not MemoryDenyWriteExecute: PyTorch makes machine code as it runs.",
)
NO_DEVICES = ("PrivateDevices=yes",)
GPU = ("DevicePolicy=closed", "DeviceAllow=char-nvidia* rw")


def manager(plan: Plan, kind: Kind | None = None) -> Manager:
    """The one of this machine, or the one that is asked for. Raises UnsupportedError where there is neither."""
    found = kind or ("launchd" if sys.platform == "darwin" else "systemd" if shutil.which("systemctl") else None)
    if found is None:
        raise UnsupportedError("neither systemd nor launchd is here; `vivavoce serve` runs under any supervisor")
    return Systemd(plan) if found == "systemd" else Launchd(plan)


def run(command: Sequence[str]) -> None:
    """Raises VivavoceError where it is not there or fails; what it says goes where ours goes."""
    try:
        code = subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        raise VivavoceError(f"{command[0]} is not on this machine") from None
    if code:
        raise VivavoceError(f"{' '.join(command)} ended with exit code {code}")


def _config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _home_of(python: str) -> str | None:
    """The home folder in which that interpreter, or the one behind it, lies."""
    places = [Path(python).absolute(), Path(python).resolve()]
    return next((str(place) for place in places for home in ("/home", "/root") if place.is_relative_to(home)), None)


def _quoted(word: str) -> str:
    """As systemd reads a command line."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if re.search(r"[\s\"';\\]", word) or not word else text
