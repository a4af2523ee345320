"""/api/speech/tts: text to speech as Gradium's clients speak it, also several at once (docs/protocols.md)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import Iterator, Sequence

from starlette.websockets import WebSocket, WebSocketDisconnect

from vivavoce.audio.writer import Format
from vivavoce.core import SAMPLE_RATE, Fault, Speech, SpeechEvent, StreamError, WordSpoken, seconds
from vivavoce.runtime import SpeechOptions, SpeechStream
from vivavoce.settings import ServeSettings

from ..gate import Admitted
from ..journal import Journal
from . import gradium_messages as messages
from . import speech_codec
from .caller import Caller, first_of
from .choice import Speaking, choose, impossible, unsupported
from .dictation import Dictation
from .encoder import Encoder
from .gradium_listen import first, is_default
from .msgpack import invalid
from .opening import open_speech, speech_options
from .waiting import WAIT_SECONDS

RATE = 48_000  # Hz, where the format does not tell another
# Catalogue voices that Gradium's clients and plugins have built in: they stand for the server's own.
VOICES = (messages.DEFAULT, "_6Aslh2DxfmnRLmP", "vjFyp2BcCyTlUmYb", "YTpq7expH9539ERJ")
MOST_REQUESTS = 16  # at a time on one socket
MOST_WAITING = 64  # messages of a request that has no slot yet
QUIET_SECONDS = 2.0  # a request that was sent nothing for so long is over when another one needs its slot
_LOOK_SECONDS = 0.1
_FORMAT = re.compile(r"(pcm|ulaw|alaw)_(8000|16000|24000|48000)")
_END = '{"type":"end_of_stream"}'


class Say:
    """Serves those who have come in."""

    def __init__(self, speaking: Sequence[Speaking], settings: ServeSettings) -> None:
        self._speaking, self._settings = speaking, settings

    async def serve(self, websocket: WebSocket, caller: Caller) -> None:
        """One connection. Raises StreamError, WebSocketDisconnect."""
        socket = Socket(websocket, caller, self._speaking, self._settings)
        try:
            await socket.run()
        finally:
            await socket.close()


class Line(Caller):
    """One request's end of the socket that it shares with others: what is said to it comes in by `inbox`."""

    def __init__(self, websocket: WebSocket, admitted: Admitted, send_seconds: float, setup: messages.SaySetup) -> None:
        super().__init__(websocket, admitted, send_seconds)
        self.setup = setup
        self.inbox = asyncio.Queue[bytes | str](MOST_WAITING)
        self.heard_at = time.monotonic()
        self.ended = False

    @property
    def multiplexed(self) -> bool:
        """Whether the socket stays open when this request is over."""
        return self.setup.close_ws_on_eos is False

    async def hear(self, counted: bool = True) -> bytes | str:  # noqa: ARG002
        """The next message, which the socket has counted."""
        return await self.inbox.get()

    async def take(self, message: bytes | str, end: bool) -> None:
        """A message for this request; waits while many wait."""
        self.heard_at, self.ended = time.monotonic(), self.ended or end
        await self.inbox.put(message)


class Socket:
    """One connection: requests come and go, each with its own stream, and none waits for another's text."""

    def __init__(
        self, websocket: WebSocket, caller: Caller, speaking: Sequence[Speaking], settings: ServeSettings
    ) -> None:
        self._websocket, self._caller, self._speaking = websocket, caller, speaking
        self._send_seconds, self._idle_seconds = settings.send_seconds, settings.idle_seconds
        self._lines: dict[str | None, Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Until a request that closes the socket is over. Raises WebSocketDisconnect, and StreamError for a fault."""
        await first_of(self._ended(), self._listen())

    async def close(self) -> None:
        """Ends what still speaks."""
        if not self._over.cancel() and not self._over.cancelled():
            self._over.exception()  # has been raised, or came too late to be
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ended(self) -> None:
        await self._over

    async def _listen(self) -> None:
        message = await first(self._caller, self._idle_seconds)
        while True:
            match said := messages.said(messages.SPEAKER, message):
                case messages.SaySetup():
                    self._begin(said)
                case _ if line := self._lines.get(said.client_req_id):
                    await line.take(message, isinstance(said, messages.End))
                case _:
                    await self._unknown(said.client_req_id)
            message = await self._caller.hear(counted=False)

    async def _unknown(self, request: str | None) -> None:
        """A request that is over may still be sent what was on its way."""
        self._caller.count()
        if request is None:
            raise impossible("type", "the first message must be setup")
        why = impossible("client_req_id", f"no request {request[:64]!r} is open")
        await self._caller.say(messages.error(why, request))

    def _begin(self, setup: messages.SaySetup) -> None:
        self._caller.count()
        request = setup.client_req_id
        if request in self._lines:
            raise impossible("client_req_id", f"the request {request!r} has its setup" if request else "one setup")
        if len(self._lines) >= MOST_REQUESTS:
            raise StreamError(Fault.RATE_LIMITED, f"{MOST_REQUESTS} requests are open on this connection")
        line = self._lines[request] = Line(self._websocket, self._caller.admitted, self._send_seconds, setup)
        task = asyncio.create_task(self._serve(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, line: Line) -> None:
        try:
            await self._speak(line)
        except StreamError as error:
            await self._failed(line, error)
        except WebSocketDisconnect:
            pass  # the socket's own reader is told too
        except Exception as error:  # a fault of ours ends the socket, as it would anybody's
            if not self._over.done():
                self._over.set_exception(error)
        finally:
            del self._lines[line.setup.client_req_id]
        if not line.multiplexed and not self._over.done():
            self._over.set_result(None)

    async def _failed(self, line: Line, error: StreamError) -> None:
        if not line.multiplexed or error.fault is Fault.SLOW_READER:
            if not self._over.done():
                self._over.set_exception(error)
            return
        request = line.setup.client_req_id
        silent = error.fault is Fault.CLIENT_TIMEOUT  # all its text was spoken; a listener has interrupted, say
        with contextlib.suppress(StreamError, WebSocketDisconnect):
            await line.say(messages.encode("end_of_stream", request) if silent else messages.error(error, request))

    async def _speak(self, line: Line) -> None:
        offer = choose(self._speaking, line.setup.model_name or messages.DEFAULT, is_default)
        tongue, options = Tongue(line.setup, offer), options_of(line.setup, offer)
        stream = await self._slot(line, offer, options)
        try:
            tongue.id = stream.id[:8]
            with Journal(stream, offer.runtime.name, dialect=messages.DIALECT, who=line.who) as journal:
                await Dictation(line, stream, tongue, journal).run()
            for message in tongue.end():
                await line.say(message)
        finally:
            stream.close()

    async def _slot(self, line: Line, offer: Speaking, options: SpeechOptions) -> SpeechStream:
        """Waits where requests of this very socket have the slots. Raises StreamError as `open_speech`."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return open_speech(offer.runtime, options)
            except StreamError as error:
                others = [other for other in self._lines.values() if other is not line]
                if error.fault is not Fault.CAPACITY or not others or time.monotonic() > deadline:
                    raise
            self._end_quiet(others)
            await asyncio.sleep(_LOOK_SECONDS)

    def _end_quiet(self, lines: Sequence[Line]) -> None:
        """Agents begin a new request when a listener interrupts, and never end the old one."""
        for line in lines:
            if not line.ended and time.monotonic() - line.heard_at > QUIET_SECONDS and not line.inbox.full():
                line.ended = True
                line.inbox.put_nowait(_END)


def options_of(setup: messages.SaySetup, offer: Speaking) -> SpeechOptions:
    """What a setup asks for. Raises StreamError."""
    if setup.pronunciation_id:
        raise unsupported("pronunciation_id", "pronunciation_id: the model says words as they are written")
    config = messages.config(messages.SayConfig, setup.json_config)
    if config.padding_bonus:
        why = "padding_bonus: how fast it is spoken is set for the whole server"
        raise unsupported("padding_bonus", why, "start it with --padding-bonus")
    if config.rewrite_rules:
        raise unsupported("rewrite_rules", "rewrite_rules: text is spoken as it is written")
    voice = voice_of(setup, offer)
    return speech_options(offer.module, voices=voice and (voice,), temperature=config.temp, cfg=config.cfg_coef)


def voice_of(setup: messages.SaySetup, offer: Speaking) -> str | None:
    """None is the server's own. Raises Refused for both names at once."""
    if setup.voice and setup.voice_id:
        raise impossible("voice", "voice and voice_id cannot both be given")
    name = setup.voice or setup.voice_id
    known = offer.runtime.info.voices if offer.runtime.info else ()
    return None if not name or (name in VOICES and name not in known) else name


def format_of(name: str) -> tuple[Format, int]:
    """Format and sample rate of `output_format`. Raises Refused."""
    if name == "opus":
        return "opus", SAMPLE_RATE
    if name in ("wav", "pcm"):
        return "wav" if name == "wav" else "pcm_s16le", RATE
    if not (found := _FORMAT.fullmatch(name)):
        known = "pcm, pcm_RATE, wav, opus, ulaw_RATE and alaw_RATE with 8000, 16000, 24000 or 48000"
        raise impossible("output_format", f"output_format {name[:32]!r} is not known", f"there are {known}")
    kinds: dict[str, Format] = {"pcm": "pcm_s16le", "ulaw": "mulaw", "alaw": "alaw"}
    return kinds[found[1]], int(found[2])


class Tongue:
    """JSON both ways, for one request."""

    def __init__(self, setup: messages.SaySetup, offer: Speaking) -> None:
        encoding, self._rate = format_of(setup.output_format)
        self._encoder = Encoder(encoding, self._rate)
        self._offer, self._request = offer, setup.client_req_id
        self.id = ""
        self._spoken = 0  # samples at 24 kHz
        self._sent = 0.0  # seconds

    def begin(self) -> Iterator[str]:
        """Ready."""
        yield self._say(
            "ready",
            request_id=self.id,
            model_name=self._offer.name,
            sample_rate=self._rate,
            frame_size=self._rate * 2 // 25,
            audio_stream_names=[],
            text_stream_names=[],
        )

    def decode(self, message: bytes | str) -> speech_codec.Request:
        """A text, whose end ends a word, as Gradium's own client takes it; or the end."""
        said = messages.said(messages.SPEAKER, message)
        if isinstance(said, messages.SaySetup):
            raise invalid("a request has one setup")
        return speech_codec.Text(said.text) if isinstance(said, messages.Text) else speech_codec.Eos()

    def tell(self, event: SpeechEvent) -> Iterator[str]:
        """Words and audio."""
        match event:
            case WordSpoken(text, start, stop):
                yield self._say("text", text=text, start_s=start, stop_s=stop, stream_id=None)
            case Speech(samples):
                self._spoken += len(samples)
                yield from self._audio(self._encoder.encode(samples))

    def end(self) -> Iterator[str]:
        """What the encoder holds back, and the end."""
        yield from self._audio(self._encoder.close())
        yield self._say("end_of_stream")

    def complaint(self, _: StreamError) -> None:
        """As with Gradium, an error is the end."""

    def _audio(self, data: bytes) -> Iterator[str]:
        if data:
            start, self._sent = self._sent, seconds(self._spoken)
            audio = base64.b64encode(data).decode()
            yield self._say("audio", audio=audio, start_s=start, stop_s=self._sent, stream_id=None)

    def _say(self, type: str, **fields: object) -> str:
        return messages.encode(type, self._request, **fields)
