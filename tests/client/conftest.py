"""A real server with the embedded model for all tests of the client, and what stands between it and them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vivavoce.client.supervise import ServerProcess, wait_ready

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.flac"
SAID = "zero two zero seven nine four six zero nine five eight five five five zero one four two three three eight one"
BOOT = 120.0  # seconds; a bound for what hangs, no measurement


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Its URL, http://127.0.0.1:PORT."""
    with ServerProcess(["--slots", "4", "--load-limit", "0"]) as process:
        url = process.wait_listening(BOOT)
        wait_ready(url, BOOT, process)
        yield url
