"""/api/speech/asr: speech to text as Gradium's clients speak it (docs/protocols.md)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from starlette.websockets import WebSocket

from vivavoce.core import (
    FRAME_RATE,
    FRAME_SECONDS,
    FRAME_SIZE,
    PAUSE_SECONDS,
    SAMPLE_RATE,
    Fault,
    Flushed,
    StreamError,
    Vad,
    WordEnded,
    WordStarted,
)
from vivavoce.runtime import Stream

from ..journal import Journal
from . import gradium_messages as messages
from .caller import Caller, first_of
from .choice import Hearing, choose, impossible, knows
from .msgpack import invalid
from .opening import open_stream, options_of
from .sound import Samples, Sound, sound
from .wav import WavSound

DELAYS = (7, 8, 10, 12, 14, 16, 20, 24, 36, 48)  # frames that Gradium's models can be told
ANY = "any"  # language
_FORMAT = re.compile(r"(pcm|ulaw|alaw)_(8000|16000|24000|48000)")


class Listen:
    """Serves those who have come in."""

    def __init__(self, hearing: Sequence[Hearing], idle_seconds: float) -> None:
        self._hearing, self._idle_seconds = hearing, idle_seconds

    async def serve(self, _: WebSocket, caller: Caller) -> None:
        """One connection. Raises StreamError, InvalidAudioError, WebSocketDisconnect."""
        setup = messages.said(messages.LISTENER, await first(caller, self._idle_seconds))
        if not isinstance(setup, messages.ListenSetup):
            raise impossible("type", "the first message must be setup")
        offer = choose(self._hearing, setup.model_name or messages.DEFAULT, is_default)
        audio, config = sound_of(setup.input_format), messages.config(messages.ListenConfig, setup.json_config)
        if config.delay_in_frames not in (None, *DELAYS):
            raise impossible("delay_in_frames", f"delay_in_frames must be one of {', '.join(map(str, DELAYS))}")
        if config.language != ANY:
            knows(offer, "language", config.language)
        stream = open_stream(offer.runtime, options_of(offer.module, temperature=config.temp))
        try:
            with Journal(stream, offer.runtime.name, dialect=messages.DIALECT, who=caller.who) as journal:
                await Conversation(caller, stream, offer, audio, setup.client_req_id, journal).run()
        finally:
            stream.close()


async def first(caller: Caller, seconds: float) -> bytes | str:
    """The first message. Raises StreamError(CLIENT_TIMEOUT) when none comes; 0 waits for ever."""
    try:
        async with asyncio.timeout(seconds or None):
            return await caller.hear()
    except TimeoutError:
        raise StreamError(Fault.CLIENT_TIMEOUT, f"no setup came for {seconds:g} s") from None


def is_default(name: str) -> bool:
    """Whether a model's name leaves the choice to the server."""
    return name == messages.DEFAULT


def sound_of(format: str) -> Sound:
    """The reader of `input_format`. Raises Refused."""
    if format == "wav":
        return WavSound()
    if format == "opus":
        return sound("opus", SAMPLE_RATE)
    found = _FORMAT.fullmatch("pcm_24000" if format == "pcm" else format)
    if not found:
        known = "pcm, pcm_RATE, wav, opus, ulaw_RATE and alaw_RATE with 8000, 16000, 24000 or 48000"
        raise impossible("input_format", f"input_format {format[:32]!r} is not known", f"there are {known}")
    coding = {"pcm": "pcm_s16le", "ulaw": "mulaw"}.get(found[1], "alaw")
    return sound(coding, int(found[2]))  # type: ignore[arg-type]


class Conversation:
    """One connection behind its setup."""

    def __init__(
        self, caller: Caller, stream: Stream, offer: Hearing, audio: Sound, request: str | None, journal: Journal
    ) -> None:
        assert offer.runtime.info, "a stream was opened on a model that is not loaded"
        self._caller, self._stream, self._sound, self._request = caller, stream, audio, request
        self._info, self._journal = offer.runtime.info, journal
        self._steps = 0

    async def run(self) -> None:
        """Until all was told behind the client's end_of_stream. Raises WebSocketDisconnect, and StreamError."""
        delay = round(self._info.delay_seconds * FRAME_RATE)
        await self._say(
            "ready",
            request_id=self._stream.id[:8],  # who knows all of it may resume the stream
            model_name=self._info.name,
            sample_rate=SAMPLE_RATE,
            frame_size=FRAME_SIZE,
            delay_in_tokens=delay,
            delay_in_frames=delay,
            languages=self._info.languages,
            text_stream_names=[],
        )
        await first_of(self._speak(), self._listen())
        await self._say("end_of_stream")

    async def _listen(self) -> None:
        while True:
            message = messages.said(messages.LISTENER, await self._caller.hear())
            if self._stream.ended:
                raise invalid("nothing can follow end_of_stream")
            match message:
                case messages.Audio(audio=audio):
                    for samples in self._sound.read(messages.bytes_of(audio)):
                        await self._push(samples)
                case messages.Flush(flush_id=id):
                    await self._push(self._sound.rest())
                    self._stream.flush(id)
                case messages.End():
                    await self._push(self._sound.rest())
                    self._stream.end()
                case messages.ListenSetup():
                    raise impossible("type", "a connection has one setup")

    async def _push(self, samples: Samples) -> None:
        if len(samples):
            await self._caller.admitted.pay(len(samples))
            await self._stream.push(samples)

    async def _speak(self) -> None:
        async for event in self._stream.events():
            self._journal.saw(event)
            match event:
                case WordStarted(text, start):
                    await self._say("text", text=text, start_s=start, stream_id=None)
                case WordEnded(word):
                    await self._say("end_text", stop_s=word.stop, stream_id=None)
                case Vad(time, pauses):
                    await self._step(time, pauses)
                case Flushed(id):
                    await self._say("flushed", flush_id=id)

    async def _step(self, time: float, pauses: Sequence[float]) -> None:
        """A model without heads never hears a pause; clients read the third of four."""
        heard = zip(PAUSE_SECONDS, pauses or (0.0,) * len(PAUSE_SECONDS))
        vad = [{"horizon_s": horizon, "inactivity_prob": pause} for horizon, pause in heard]
        step, self._steps = self._steps, self._steps + 1
        await self._say("step", vad=vad, step_idx=step, step_duration_s=FRAME_SECONDS, total_duration_s=time)

    async def _say(self, type: str, **fields: object) -> None:
        await self._caller.say(messages.encode(type, self._request, **fields))
