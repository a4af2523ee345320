"""A server as a child process, and waiting until a server is ready."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from vivavoce.core import VivavoceError

from .address import targets

STOPS = 40.0  # seconds; the server drains for up to 30
EVERY = 0.2  # seconds between looks


class ServerProcess:
    """`vivavoce serve` at a free port of the loopback address; `with` makes sure that it is gone in the end."""

    def __init__(self, options: Sequence[str]) -> None:
        self._command = [sys.executable, "-m", "vivavoce", "serve", "--port", "0", *options]
        self._last: deque[str] = deque(maxlen=50)  # lines of its log
        self._url: str | None = None

    @property
    def url(self) -> str:
        """http://host:port, once it listens."""
        assert self._url, "the server does not listen yet"
        return self._url

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._process.pid

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def wait_listening(self, limit: float) -> str:
        """The URL once its port is open. Raises VivavoceError with the server's own last line when it ends before."""
        deadline = time.monotonic() + limit
        while self._url is None:
            self.refuse_dead()
            if time.monotonic() > deadline:
                raise VivavoceError(f"the server did not open its port within {limit:g} s")
            time.sleep(EVERY / 4)
        return self._url

    def refuse_dead(self) -> None:
        """Raises VivavoceError when the process has ended."""
        code = self._process.poll()
        if code is not None:
            self._reader.join()
            last = next((line for line in reversed(self._last) if line.strip()), "it said nothing")
            raise VivavoceError(f"the server ended with exit code {code}: {last}")

    def stop(self) -> str:
        """SIGTERM and a clean end. Raises VivavoceError."""
        self.refuse_dead()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOPS)
        except subprocess.TimeoutExpired:
            raise VivavoceError(f"the server did not end within {STOPS:g} s of SIGTERM") from None
        if code not in (0, -signal.SIGTERM):
            raise VivavoceError(f"the server ended with exit code {code} after SIGTERM")
        return f"exit code {code}"

    def _read(self) -> None:
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._last.append(line)
            if self._url is None and (found := re.search(r"Listening on (https?://[^\s\"]+)", line)):
                self._url = found[1]


def wait_ready(
    url: str,
    limit: float,
    server: ServerProcess | None = None,
    headers: Mapping[str, str] | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> str:
    """Until GET /ready says 200; a server without that route (moshi-server) counts as ready.

    `told` is told for what it waits of another's server, whenever that is another reason. Raises VivavoceError: at
    once where a key is wanted that `headers` do not have.
    """
    request = urllib.request.Request(targets(url)[0].http + "/ready", headers=dict(headers or {}))
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if targets(url)[0].loopback else []))
    deadline, said = time.monotonic() + limit, "no answer"
    while (now := time.monotonic()) < deadline:
        before = said
        if server is not None:
            server.refuse_dead()
        try:
            with opener.open(request, timeout=10):
                return "/ready answers 200"
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (400, 404, 405):
                    return f"there is no /ready here (HTTP {error.code})"
                if error.code in (401, 403):  # of a proxy: ours asks nobody
                    raise VivavoceError(f"/ready is not for everybody: HTTP {error.code}") from None
                said = f"HTTP {error.code}"
        except OSError as error:
            reason = getattr(error, "reason", error)
            said = getattr(reason, "strerror", None) or str(reason)
        if server is None and said != before:
            told(f"{said}; waiting {deadline - now:.0f} s for {request.full_url}")
        time.sleep(EVERY)
    raise VivavoceError(f"not ready within {limit:g} s: {said}")
