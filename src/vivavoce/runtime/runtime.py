"""The heart of a server of speech to text: streams on one side, an engine in its own process on the other."""

from __future__ import annotations

import asyncio

from vivavoce.core import Fault, StreamError
from vivavoce.settings.limits import Limits

from .host import Host
from .lane import Lane
from .messages import EngineSpec, FromEngine, ModelInfo, Opened, Stepped
from .metrics import Metrics
from .options import StreamOptions
from .stream import Stream
from .tally import SttTally


class Runtime(Host[Lane, ModelInfo]):
    """One model that hears, its engine process, and the streams that it serves."""

    def __init__(self, spec: EngineSpec, limits: Limits, metrics: Metrics, name: str = "stt") -> None:
        super().__init__(spec, limits, metrics, name, "asr")

    def open(self, options: StreamOptions | None = None) -> Stream:
        """A new stream. StreamError CAPACITY, OVERLOADED, UNAVAILABLE or GOING_AWAY, with `retry_after`;
        UnsupportedError when the model cannot do what the options ask for."""
        asked = options or StreamOptions()

        def make(id: str, info: ModelInfo) -> Lane:
            return (lane := Lane(id, asked, info, self.limits, lambda error: self._fail(lane, error)))

        return Stream(self._admit(make, lambda lane: SttTally(lane, self._metrics)), self)

    def resume(self, id: str) -> Stream:
        """A resumable stream again: parked, ended but not closed, or taken over from a connection that seems alive.

        StreamError(UNKNOWN_SESSION); CAPACITY when others have taken its slot meanwhile, which leaves it parked.
        """
        lane = self._guests.get(id)
        if lane is None or not lane.resumable:
            raise StreamError(Fault.UNKNOWN_SESSION)
        if lane.slot is None and not lane.finished:
            self._slots.take(lane)
        lane.parked = False
        lane.patience.come_back()
        return Stream(lane, self)

    def _take(self, message: FromEngine) -> None:
        match message:
            case Opened(stream, token) if stream in self._slots.guests:
                self._slots.guests[stream].opened(token)
            case Stepped(results, seconds, frames):
                now, streams = asyncio.get_running_loop().time(), len(results) // frames
                self._pace.stepped(streams, seconds, now, frames)
                self._metrics.stepped(streams, seconds)
                for result in results:
                    if lane := self._slots.guests.get(result.stream):
                        self._follow(lane, lambda lane=lane, result=result: lane.answered(result), now)  # type: ignore[misc]
            case _:
                super()._take(message)
