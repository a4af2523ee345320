"""A real server with the embedded model, as clients meet it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vivavoce.client.supervise import ServerProcess, wait_ready

PATIENCE = 120.0  # seconds; a bound for what hangs, no measurement


@contextmanager
def serving(*flags: str) -> Iterator[str]:
    """`vivavoce serve` once it is ready; its URL, http://127.0.0.1:PORT."""
    with ServerProcess(flags) as process:
        url = process.wait_listening(PATIENCE)
        wait_ready(url, PATIENCE, process)
        yield url
