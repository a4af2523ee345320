"""The smoke test of the Proxmox runbook, against real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..serving import serving
from . import DEPLOY, free_port

SCRIPT = DEPLOY / "proxmox" / "smoke-test.sh"


def smoke(url: str, key: str = "") -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "VIVAVOCE_API_KEY": key, "no_proxy": "127.0.0.1"}
    return subprocess.run([SCRIPT, url], env=environment, capture_output=True, text=True, timeout=300)


def test_a_server_with_a_key_passes_with_it_and_fails_without() -> None:
    with serving("--api-keys", "open", "--tts-model", "none") as url:
        passed = smoke(url.replace("http", "ws"), "open")
        assert passed.returncode == 0, passed.stdout + passed.stderr
        assert "closed to strangers" in passed.stdout and "transcribe" in passed.stdout
        assert smoke(url.replace("http", "ws"), "wrong").returncode != 0


def test_an_open_server_fails_where_a_key_was_expected() -> None:
    with serving("--tts-model", "none") as url:
        failed = smoke(url.replace("http", "ws"), "open")
    assert failed.returncode == 1 and "a stranger got HTTP" in failed.stderr


def test_nobody_there_is_a_failure() -> None:
    assert smoke(f"ws://127.0.0.1:{free_port()}").returncode != 0
