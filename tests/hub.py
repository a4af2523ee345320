"""A small model hub that really listens, on the loopback interface."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The few endpoints that a download uses: HEAD and GET of /owner/name/resolve/revision/file, and of listings."""

    address: str = ""
    repositories: dict[str, Path] = field(default_factory=dict)
    token: str | None = None  # needed when set
    gated: bool = False
    requests: list[str] = field(default_factory=list)  # "METHOD file"

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        path, _, _ = unquote(path).strip("/").partition("?")
        if listing := re.fullmatch(r"api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
            repository, kind, revision = listing.groups()
            file = ""
        else:
            repository, _, rest = path.partition("/resolve/")
            revision, _, file = rest.partition("/")
            kind = "resolve"
        if repository not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if self.token is not None and authorization != f"Bearer {self.token}":
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        if revision not in ("main", "v1", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if kind != "resolve":
            return 200, {"Content-Type": "application/json"}, json.dumps(self.list(repository, kind)).encode()
        if not (self.repositories[repository] / file).is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        content = (self.repositories[repository] / file).read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}, content

    def list(self, repository: str, kind: str) -> object:
        """What a repository is (`revision`), or which files it has (`tree`)."""
        folder = self.repositories[repository]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if kind == "revision":
            siblings = [{"rfilename": path.relative_to(folder).as_posix()} for path in files]
            return {"id": repository, "sha": COMMIT, "siblings": siblings}
        return [
            {"type": "file", "path": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "oid": COMMIT}
            for path in files
        ]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty hub, and an environment that points at it with an empty cache."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.respond(body=False)

        def do_GET(self) -> None:
            self.respond(body=True)

        def respond(self, *, body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path.rpartition('/')[2]}")
            status, headers, content = hub.answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    for variable in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()
