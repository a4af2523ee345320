"""The proxies' files in the real Caddy and the real nginx, before a real server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from vivavoce import audio, client
from vivavoce.core import WordEnded

from ..example import EXAMPLE, WORDS
from ..server.process import fetch
from ..serving import PATIENCE, serving
from . import DEPLOY, free_port

FILES = DEPLOY / "proxy"
KEY = "an-open-secret"
ORIGIN = "https://speech.example.org"


@dataclass(frozen=True)
class Site:
    """What a caller sees: an address, and the certificate that it trusts."""

    address: str  # host:port
    certificate: Path | None

    @property
    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.certificate) if self.certificate else None

    @property
    def scheme(self) -> str:
        return "s" if self.certificate else ""

    def curl(self, path: str, *options: str) -> tuple[int, bytes]:
        """Status and body."""
        trust = ["--cacert", str(self.certificate)] if self.certificate else []
        url = f"http{self.scheme}://{self.address}{path}"
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", *trust, "--write-out", "\n%{http_code}"]
        told = subprocess.run([*command, *options, url], capture_output=True, check=True, timeout=PATIENCE).stdout
        body, _, status = told.rpartition(b"\n")
        return int(status), body


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """host:port of a server with one seat for each address."""
    flags = ["--api-keys", KEY, "--origins", ORIGIN, "--connections-per-address", "2", "--slots", "4"]
    with serving(*flags, "--tts-model", "none") as url:
        yield url.removeprefix("http://")


@pytest.fixture(scope="module", params=["caddy", "nginx"])
def site(request: pytest.FixtureRequest, upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    program = shutil.which(request.param, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"{request.param} is not installed (.ci/run installs it)")
    folder = tmp_path_factory.mktemp(request.param)
    with {"caddy": caddy, "nginx": nginx}[request.param](program, upstream, folder) as found:
        yield found


@contextmanager
def caddy(program: str, upstream: str, folder: Path) -> Iterator[Site]:
    """Without TLS: its own authority would want to be trusted by the whole machine."""
    address = f"127.0.0.1:{free_port()}"
    places = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    said = {"VIVAVOCE_SITE": f"http://{address}", "VIVAVOCE_UPSTREAM": upstream, "CADDY_ADMIN": "off"}
    environment = os.environ | places | said
    command = ["--config", str(FILES / "Caddyfile"), "--adapter", "caddyfile"]
    subprocess.run([program, "validate", *command], env=environment, check=True, capture_output=True, timeout=PATIENCE)
    with running([program, "run", *command], address, folder, environment):
        yield Site(address, None)


@contextmanager
def nginx(program: str, upstream: str, folder: Path) -> Iterator[Site]:
    """With TLS and a certificate of our own; only the port, the upstream and the certificate's place are changed."""
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *names], check=True, capture_output=True)
    port = free_port()
    text = (FILES / "nginx.conf").read_text()
    for here, there in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server 127.0.0.1:8080;": f"server {upstream};",
        "/etc/letsencrypt/live/speech.example.org": str(folder),
    }.items():
        assert here in text
        text = text.replace(here, there)
    (folder / "site.conf").write_text(text)
    places = "".join(f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    around = f"http {{ access_log off; {places} include {folder}/site.conf; }}"
    main = f"daemon off; user {os.environ.get('USER', 'root')}; pid {folder}/pid; events {{}}\n{around}"
    (folder / "nginx.conf").write_text(main)
    command = [program, "-e", "stderr", "-c", str(folder / "nginx.conf")]
    subprocess.run([*command, "-t"], check=True, capture_output=True, timeout=PATIENCE)
    with running(command, f"127.0.0.1:{port}", folder, dict(os.environ)):
        yield Site(f"localhost:{port}", certificate)


@contextmanager
def running(command: list[str], address: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Once its port is open."""
    host, _, port = address.rpartition(":")
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    socket.create_connection((host, int(port)), 1).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                    time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_a_stream_goes_through(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our client in small frames as they are spoken; events come before the end of the audio: nothing is buffered."""
    if site.certificate:
        monkeypatch.setenv("SSL_CERT_FILE", str(site.certificate))

    async def speak() -> tuple[list[str], bool]:
        samples = audio.load(EXAMPLE)
        words, early = list[str](), False
        async with client.connect(f"ws{site.scheme}://{site.address}", key=KEY) as stream:
            await stream.send(samples[: len(samples) // 2])
            async for event in stream:
                if isinstance(event, WordEnded):
                    words.append(event.word.text)
                    if not early:
                        early = True
                        await stream.send(samples[len(samples) // 2 :])
                        await stream.end()
        return words, early

    words, early = asyncio.run(speak())
    assert early and words == WORDS


def test_a_recording_goes_through(site: Site) -> None:
    status, body = site.curl(
        "/v1/transcribe", "--header", f"kyutai-api-key: {KEY}", "--data-binary", f"@{EXAMPLE}", "--header", "Expect:"
    )
    assert status == 200 and json.loads(body)["text"].split() == WORDS


def test_a_refusal_before_the_upgrade_comes_through_with_its_status(site: Site) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws{site.scheme}://{site.address}/v1/stream", ssl=site.context, proxy=None)
    assert refused.value.response.status_code == 401


def test_a_page_of_the_site_may_connect_and_another_may_not(site: Site) -> None:
    url, key = f"ws{site.scheme}://{site.address}/v1/stream", {"kyutai-api-key": KEY}
    with connect(url, ssl=site.context, proxy=None, origin=ORIGIN, additional_headers=key) as stream:  # type: ignore[arg-type]
        assert json.loads(stream.recv(PATIENCE))["type"] == "ready"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, ssl=site.context, proxy=None, origin="https://elsewhere.example", additional_headers=key)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


def test_a_caller_cannot_give_itself_another_address(site: Site, upstream: str) -> None:
    """Two streams from each address; who forges the header is still the same caller."""
    deadline = time.monotonic() + PATIENCE
    while json.loads(fetch(f"http://{upstream}/api/status").body)["capacity"]["used_slots"]:  # those of other tests
        assert time.monotonic() < deadline
        time.sleep(0.05)
    url = f"ws{site.scheme}://{site.address}/v1/stream"

    def open_one(number: int) -> object:
        forged = {"kyutai-api-key": KEY, "X-Forwarded-For": f"203.0.113.{number}"}
        return connect(url, ssl=site.context, proxy=None, additional_headers=forged)

    with open_one(1), open_one(2):  # type: ignore[attr-defined]
        with pytest.raises(InvalidStatus) as refused:
            open_one(3)
        assert refused.value.response.status_code == 429


@pytest.mark.parametrize("path", ["/metrics", "/api/status"])
def test_what_the_server_tells_of_itself_stays_inside(site: Site, path: str) -> None:
    assert site.curl(path)[0] == 404
    assert site.curl("/ready")[0] == 200
