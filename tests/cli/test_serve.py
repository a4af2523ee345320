"""`vivavoce serve` and `worker` for real: started, ready with the embedded model, told to end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

TOML = """
static_dir = "./static/"
log_dir = "$LOGS"
instance_name = "mine"
authorized_ids = []

[modules.digits]
type = "stt"
path = "/api/digits"
slots = 3
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str) -> Any:
    """The JSON of the answer; None while nobody listens, or who does is not ready."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError):
        return None


@pytest.mark.parametrize(
    ("arguments", "slots"),
    [
        (["serve", "--slots", "2", "--tts-slots", "1"], 3),
        (["worker", "--config", "c.toml", "-a", "127.0.0.1", "--cpu", "-l", "debug"], 3),
    ],
)
def test_it_serves_until_it_is_told_to_end(arguments: list[str], slots: int, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(TOML)
    (tmp_path / ".env").write_text(f"LOGS={tmp_path}/logs\n")
    port = free_port()
    command = [sys.executable, "-m", "vivavoce", *arguments, "--port", str(port)]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while ask(f"http://127.0.0.1:{port}/ready") is None and server.poll() is None:
            time.sleep(0.1)
        status = ask(f"http://127.0.0.1:{port}/api/status")
    finally:
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=60)
    assert server.returncode == 0, err
    assert status["capacity"]["total_slots"] == slots
    assert out == ""
    if arguments[0] == "worker":
        assert [module["name"] for module in status["capacity"]["modules"]] == ["/api/digits"]
        assert list((tmp_path / "logs").glob("log.mine*"))
