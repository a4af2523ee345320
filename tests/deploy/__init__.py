"""The places to run: each file of deploy/ with the real programs that read it, as far as they can be had."""

from __future__ import annotations

import socket
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def free_port() -> int:
    """A TCP port of the loopback address that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
