"""The heart of a server: streams on one side, an engine in its own process on the other."""

from __future__ import annotations

from typing import Literal

from .limits import Limits
from .messages import EngineSpec, ModelInfo
from .metrics import Metrics
from .stream import Stream, StreamOptions

State = Literal["loading", "ready", "restarting", "draining", "broken", "stopped"]


class Runtime:
    """One model, its engine process, and the streams that it serves."""

    def __init__(self, spec: EngineSpec, limits: Limits, metrics: Metrics, name: str = "stt") -> None:
        self.spec, self.limits, self.metrics, self.name = spec, limits, metrics, name
        self.state: State = "loading"
        self.error: str | None = None
        self.info: ModelInfo | None = None
        self.slots = spec.slots
        self.slots_used = 0
        self.pid: int | None = None
        self.restarts = 0
        self.real_time_load = 0.0
        self.step_seconds = (0.0, 0.0)  # median and 95th percentile of the last minute

    async def start(self) -> None:
        """Spawn the engine; returns at once."""
        raise NotImplementedError

    async def wait_ready(self) -> None:
        """Return when the model is loaded; StreamError(UNAVAILABLE) with the loader's line when it cannot be."""
        raise NotImplementedError

    def open(self, options: StreamOptions = StreamOptions()) -> Stream:
        """A new stream; StreamError CAPACITY, OVERLOADED, UNAVAILABLE or GOING_AWAY."""
        raise NotImplementedError

    def resume(self, id: str) -> Stream:
        """A resumable stream, parked or taken over from a connection that seems alive; StreamError(UNKNOWN_SESSION)."""
        raise NotImplementedError

    async def restart(self) -> None:
        """Move every stream to a new engine process; no word is lost."""
        raise NotImplementedError

    async def drain(self, seconds: float) -> None:
        """Take no new streams; return when the last has ended, or end the rest with GOING_AWAY at the deadline."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End every stream and the engine."""
        raise NotImplementedError
