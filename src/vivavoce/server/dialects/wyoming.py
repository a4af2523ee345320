"""Wyoming, the protocol of Home Assistant's voices, over a TCP port of its own (docs/protocols.md)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from vivavoce.core import (
    SAMPLE_RATE,
    Fault,
    InvalidAudioError,
    KeyTerm,
    Speech,
    StreamError,
    Token,
    VivavoceError,
    seconds,
)
from vivavoce.runtime import SpeechStream, Stream
from vivavoce.settings import ServeSettings

from ..errors import code_of
from ..gate import Admitted, Gate
from ..journal import Journal
from . import wyoming_wire as wire
from .caller import first_of
from .choice import Hearing, Speaking, choose, impossible, key_terms, knows, unsupported
from .encoder import Encoder
from .msgpack import invalid
from .opening import open_speech, open_stream, options_of, speech_options
from .sound import Sound, sound
from .wishes import HIGHEST_RATE, LOWEST_RATE
from .wyoming_info import info
from .wyoming_wire import Event

logger = logging.getLogger(__name__)
DIALECT = "wyoming"
AHEAD = 8  # events that are read before they are heeded


class _Data(msgspec.Struct, frozen=True):
    """Of events. `context`, which means nothing here, and what is not known are passed over."""


class Transcribe(_Data, frozen=True):
    name: str | None = None
    language: str | None = None
    vad_sensitivity: str | None = None
    transcript_names: tuple[str, ...] | None = None
    transcript_terms: tuple[str, ...] | None = None


class AudioFormat(_Data, frozen=True):
    rate: int
    width: int  # bytes of a sample
    channels: int


class Voice(_Data, frozen=True):
    name: str | None = None
    language: str | None = None
    speaker: str | None = None


class Synthesize(_Data, frozen=True):
    voice: Voice | None = None
    text_format: str | None = None


class Text(_Data, frozen=True):
    text: str


class Ping(_Data, frozen=True):
    text: str | None = None


D = TypeVar("D", bound=_Data)


def _read(kind: type[D], event: Event) -> D:
    try:
        return msgspec.convert(event.data, kind)
    except msgspec.ValidationError as error:
        raise invalid(f"{event.type}: {error}") from None


class Wyoming:
    """The server of one port. The protocol has no keys: who reaches the port comes in."""

    def __init__(
        self, hearing: Sequence[Hearing], speaking: Sequence[Speaking], gate: Gate, settings: ServeSettings
    ) -> None:
        self._hearing, self._speaking, self._gate, self._settings = hearing, speaking, gate, settings
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Serves who connects to a socket that listens."""
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=wire.LONGEST_LINE)

    def refuse(self) -> None:
        """Nobody new comes in."""
        if self._server:
            self._server.close()

    async def stop(self) -> None:
        """Ends all that is open."""
        self.refuse()
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._talks.add(task)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the server goes
        finally:
            self._talks.discard(task)
            writer.close()
            asyncio.get_running_loop().call_later(self._settings.send_seconds, writer.transport.abort)  # unread by then

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, self._settings)
        try:
            with await self._gate.admit_keyless(writer.get_extra_info("peername")[0]) as admitted:
                talk = Conversation(peer, admitted, self._hearing, self._speaking)
                await first_of(talk.run(), peer.read(admitted))
        except (StreamError, InvalidAudioError) as error:
            told = error if isinstance(error, StreamError) else invalid(str(error))
            logger.info("A Wyoming connection ends: %s", told)
            with contextlib.suppress(StreamError):
                await peer.say("error", text=str(told), code=code_of(told))


class Peer:
    """The client's end of one connection. Methods raise ConnectionError when it has gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: ServeSettings) -> None:
        self._reader, self._writer = reader, writer
        self._most, self._send_seconds = settings.message_bytes, settings.send_seconds
        self._idle = settings.idle_seconds or None
        self._heard = asyncio.Queue[Event | None](AHEAD)
        self._gone = asyncio.Event()

    async def read(self, admitted: Admitted) -> None:
        """Reads on for `hear`, and does not return: a read that is cut short would lose its place in the bytes."""
        while event := await wire.read(self._reader, self._most):
            admitted.message(len(event.payload), counted=event.type != "synthesize-chunk")
            await self._heard.put(event)
        self._gone.set()
        await self._heard.put(None)
        await asyncio.Event().wait()

    async def leave(self) -> None:
        """Raises ConnectionError when the client has gone, and does not return."""
        await self._gone.wait()
        raise ConnectionResetError("the client has gone")

    async def hear(self) -> Event:
        """The next event. Raises StreamError(CLIENT_TIMEOUT) when none comes for idle_seconds."""
        try:
            async with asyncio.timeout(self._idle):
                event = await self._heard.get()
        except TimeoutError:
            raise StreamError(Fault.CLIENT_TIMEOUT, f"no event came for {self._idle:g} s") from None
        if event is None:
            raise ConnectionResetError("the client has gone")
        return event

    async def say(self, type: str, payload: bytes = b"", **data: Any) -> None:
        """One event. Raises StreamError(SLOW_READER)."""
        self._writer.write(Event(type, data, payload).encode())
        try:
            async with asyncio.timeout(self._send_seconds):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise StreamError(Fault.SLOW_READER, f"the client has not read for {self._send_seconds:g} s") from None


class Conversation:
    """One connection: requests one after another."""

    def __init__(
        self, peer: Peer, admitted: Admitted, hearing: Sequence[Hearing], speaking: Sequence[Speaking]
    ) -> None:
        self._peer, self._admitted, self._hearing, self._speaking = peer, admitted, hearing, speaking
        self._asked = Transcribe()  # the newest

    async def run(self) -> None:
        """Until the client has gone. Raises StreamError for what cannot be done."""
        while True:
            event = await self._peer.hear()
            match event.type:
                case "describe":
                    await self._peer.say("info", **info(self._hearing, self._speaking))
                case "ping":
                    await self._peer.say("pong", text=_read(Ping, event).text or "")
                case "transcribe":
                    self._asked = _read(Transcribe, event)
                case "audio-start":
                    await self._hear(_sound(_read(AudioFormat, event)))
                case "synthesize":
                    await self._say(_read(Synthesize, event), _read(Text, event).text)
                case "synthesize-start":
                    await self._say(_read(Synthesize, event), None)
                case _:
                    raise invalid(f"{event.type[:32]!r} has no place here")

    # --- speech to text ---

    async def _hear(self, audio: Sound) -> None:
        asked, self._asked = self._asked, Transcribe()
        if not self._hearing:
            raise unsupported("transcribe", "nothing here hears: the server only speaks")
        offer = choose(self._hearing, asked.name or self._hearing[0].name, lambda _: False)
        knows(offer, "language", asked.language)
        terms = key_terms("transcript_names", offer, map(KeyTerm, asked.transcript_names or ()))
        terms = key_terms("transcript_terms", offer, [*terms, *map(KeyTerm, asked.transcript_terms or ())])
        if asked.vad_sensitivity not in (None, "default"):
            raise unsupported("vad_sensitivity", "vad_sensitivity: audio-stop tells the end, not the server")
        stream = open_stream(offer.runtime, options_of(offer.module, vad=False, key_terms=terms))
        try:
            with Journal(stream, offer.runtime.name, dialect=DIALECT, who=self._admitted.who) as journal:
                await first_of(self._tell(stream, journal, asked.language), self._listen(stream, audio))
        finally:
            stream.close()

    async def _listen(self, stream: Stream, audio: Sound) -> None:
        while (event := await self._peer.hear()).type == "audio-chunk":
            for samples in audio.read(event.payload):
                await stream.push(samples)
        if event.type != "audio-stop":
            raise invalid(f"{event.type[:32]!r} among audio")
        if len(rest := audio.rest()):
            await stream.push(rest)
        stream.end()
        await self._peer.leave()

    async def _tell(self, stream: Stream, journal: Journal, language: str | None) -> None:
        """Text as it is heard; all of it once more at the end, for clients that wait for that alone."""
        spoken: dict[str, Any] = {"language": language} if language else {}
        text = ""
        async for event in stream.events():
            journal.saw(event)
            if isinstance(event, Token) and (piece := event.text if text else event.text.lstrip()):
                if not text:
                    await self._peer.say("transcript-start", **spoken)
                text += piece
                await self._peer.say("transcript-chunk", text=piece)
        if not text:
            await self._peer.say("transcript-start", **spoken)
        await self._peer.say("transcript", text=text, **spoken)
        await self._peer.say("transcript-stop")

    # --- text to speech ---

    async def _say(self, asked: Synthesize, text: str | None) -> None:
        """The whole `text`, or what comes in chunks."""
        if not self._speaking:
            raise unsupported("synthesize", "nothing here speaks: the server only hears")
        if asked.text_format not in (None, "text"):
            raise unsupported("text_format", "text_format: text is spoken as it is written")
        offer, voice = _voice(asked.voice or Voice(), self._speaking)
        stream = open_speech(offer.runtime, speech_options(offer.module, voices=voice and (voice,)))
        source = self._follow(stream) if text is None else self._take(stream, text)
        try:
            with Journal(stream, offer.runtime.name, dialect=DIALECT, who=self._admitted.who) as journal:
                await first_of(self._speak(stream, journal), source)
        finally:
            stream.close()
        if text is None:
            await self._peer.say("synthesize-stopped")

    async def _follow(self, stream: SpeechStream) -> None:
        while (event := await self._peer.hear()).type in ("synthesize-chunk", "synthesize"):
            if event.type == "synthesize-chunk":  # the other one repeats the whole, for servers without chunks
                await _spoken(stream, _read(Text, event).text, whole=False)
        if event.type != "synthesize-stop":
            raise invalid(f"{event.type[:32]!r} among the chunks of a text")
        await self._end(stream)

    async def _take(self, stream: SpeechStream, text: str) -> None:
        await _spoken(stream, text, whole=True)
        await self._end(stream)

    async def _end(self, stream: SpeechStream) -> None:
        with _taken():
            stream.end()
        await self._peer.leave()

    async def _speak(self, stream: SpeechStream, journal: Journal) -> None:
        form: dict[str, Any] = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
        encoder, spoken = Encoder("pcm_s16le"), 0
        await self._peer.say("audio-start", **form, timestamp=0)
        async for event in stream.events():
            journal.saw(event)
            if isinstance(event, Speech):
                at = round(1000 * seconds(spoken))
                await self._peer.say("audio-chunk", encoder.encode(event.samples), **form, timestamp=at)
                spoken += len(event.samples)
        await self._peer.say("audio-stop", timestamp=round(1000 * seconds(spoken)))


async def _spoken(stream: SpeechStream, text: str, whole: bool) -> None:
    with _taken():
        await stream.say(text, whole=whole)


@contextlib.contextmanager
def _taken() -> Iterator[None]:
    """What the session does not take, such as a word that the model cannot say, is the client's fault."""
    try:
        yield
    except StreamError:
        raise
    except VivavoceError as error:
        raise invalid(str(error)) from None


def _voice(asked: Voice, speaking: Sequence[Speaking]) -> tuple[Speaking, str | None]:
    """Who speaks: a voice or a model by name, else the first one's own voice. Raises Refused."""
    if asked.speaker:
        raise unsupported("speaker", "speaker: a voice here has one speaker", "choose another voice")
    for offer in speaking:
        if offer.runtime.info and asked.name in offer.runtime.info.voices:
            return offer, asked.name
    offer = choose(speaking, asked.name or speaking[0].name, lambda _: False)
    knows(offer, "language", asked.language)
    return offer, None


def _sound(audio: AudioFormat) -> Sound:
    if (audio.width, audio.channels) != (2, 1):
        why = f"audio of {audio.channels} channels and width {audio.width}; one channel of 2 bytes is heard"
        raise impossible("width", why)
    if not LOWEST_RATE <= audio.rate <= HIGHEST_RATE:
        raise impossible("rate", f"rate must be {LOWEST_RATE} to {HIGHEST_RATE}, got {audio.rate}")
    return sound("pcm_s16le", audio.rate)
