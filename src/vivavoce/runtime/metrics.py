"""What the runtimes of a server count, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry


class Metrics:
    """One for each server; its runtimes share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
