"""The real command in its own process."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import pytest

PATIENCE = 60  # seconds; a bound for what hangs, no measurement
needs_linux = pytest.mark.skipif(os.uname().sysname != "Linux", reason="the kernel spreads connections only there")


class Answer:
    """What came back over HTTP, errors too."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """`with Server("--slots", "2") as server:` at a free port of the loopback address; it speaks when told to."""

    command: tuple[str, ...] = ("serve",)

    def __init__(
        self,
        *flags: str,
        environment: Mapping[str, str] = {},
        stderr: int = subprocess.PIPE,
        port: int | None = 0,
    ) -> None:
        self.lines: list[str] = []
        self._listening = threading.Event()
        at = () if port is None else ("--port", str(port))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VIVAVOCE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "-m", "vivavoce", *self.command, *at, *flags],
            stderr=stderr,
            text=True,
            env={**clean, "OMP_NUM_THREADS": "1", "VIVAVOCE_TTS_MODEL": "none", **environment},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def text(self) -> str:
        """All of standard error so far."""
        return "\n".join(self.lines)

    @property
    def url(self) -> str:
        """http://host:port; waits until the server listens."""
        assert self._listening.wait(PATIENCE), self.text
        found = re.search(r"Listening on (\S+?)[\s\"]", self.text + "\n")
        assert found, self.text
        return found[1]

    def get(self, path: str, headers: dict[str, str] = {}, body: bytes | None = None) -> Answer:  # noqa: B006
        return fetch(self.url + path, headers, body)

    def engine(self) -> dict[str, Any]:
        """What the server says of its only engine."""
        (engine,) = self.get("/api/status").json()["engines"]
        return engine

    def metric(self, name: str) -> float:
        """What /metrics tells of it, labels included."""
        [value] = re.findall(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").body.decode(), re.MULTILINE)
        return float(value)

    def wait_ready(self) -> None:
        self.wait_for("Ready after")

    def wait_for(self, text: str) -> None:
        """Until standard error says so."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            assert self.process.poll() is None and time.monotonic() < deadline, self.text
            time.sleep(0.02)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def hear(self, line: str) -> None:
        """A line of its log."""
        self.lines.append(line.rstrip("\n"))
        if "Listening on" in line:
            self._listening.set()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.hear(line)
        self._listening.set()  # it will not any more


def fetch(
    url: str,
    headers: dict[str, str] = {},  # noqa: B006
    body: bytes | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    request = urllib.request.Request(url, body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())
