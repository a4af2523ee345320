"""The heart of a server of text to speech."""

from __future__ import annotations

import asyncio

from vivavoce.settings.limits import Limits

from .distant import Share
from .host import Host
from .messages import FromEngine
from .metrics import Metrics
from .options import SpeechOptions
from .speech_lane import SpeechLane
from .speech_messages import SpeechInfo, SpeechSpec, Spoke
from .speech_stream import SpeechStream
from .tally import TtsTally


class SpeechRuntime(Host[SpeechLane, SpeechInfo]):
    """One model that speaks, its engine process, and the streams that it serves."""

    def __init__(
        self, spec: SpeechSpec, limits: Limits, metrics: Metrics, name: str = "tts", share: Share | None = None
    ) -> None:
        super().__init__(spec, limits, metrics, name, "py", share)

    def open(self, options: SpeechOptions | None = None) -> SpeechStream:
        """A new stream. StreamError CAPACITY, OVERLOADED, UNAVAILABLE or GOING_AWAY, with `retry_after`;
        UnknownVoiceError; UnsupportedError when the model cannot do what the options ask for."""
        asked = options or SpeechOptions()

        def make(id: str, info: SpeechInfo) -> SpeechLane:
            return (lane := SpeechLane(id, asked, info, self.limits, lambda error: self._expired(lane, error)))

        return SpeechStream(self._admit(make, lambda lane: TtsTally(lane, self._metrics)), self)

    def settle(self, lane: SpeechLane) -> None:
        """For `SpeechStream.end` and `.clear`: a stream that has nothing left to say is over at once."""
        if lane.finished and not lane.backlog.closed:
            self._finish(lane, asyncio.get_running_loop().time())

    def _take(self, message: FromEngine) -> None:
        match message:
            case Spoke(results, starved, seconds, beside, all_audio):
                now = asyncio.get_running_loop().time()
                self._metrics.spoke(len(results), len(starved))
                if together := len(results) + beside:
                    self._metrics.stepped(together, seconds)
                    # others cost less: those before the first audio
                    if all_audio and all(said.audio for said in results):
                        self._pace.stepped(together, seconds, now)
                for said in results:
                    if lane := self._slots.guests.get(said.stream):
                        self._follow(lane, lane.answered, said, now)
                for stream in starved:
                    if lane := self._slots.guests.get(stream):
                        lane.starved()
            case _:
                super()._take(message)
