"""`vivavoce mic`: what is said into a microphone, as it is said."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self

import typer

from vivavoce.core import FRAME_SECONDS, SAMPLE_RATE, ExitCode, UnsupportedError, VivavoceError

from . import remote
from .console import note

if TYPE_CHECKING:
    from vivavoce.audio import Samples
    from vivavoce.client import ClientEvent
    from vivavoce.client.services import Service

    from .screen import View

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

LAST_WORDS = 30.0  # seconds that the end may take
HELP = (
    "Write down what is said into a microphone, as it is said.\n\n"
    "vivavoce mic\n\n"
    "vivavoce mic --url ws://localhost:8080 --device usb --save-audio talk.wav\n\n"
    "Without a server the model works in this process. [bold]q[/bold] or Ctrl+C ends it: the last words still come, "
    "and the transcript is left on standard output. In a pipe the text comes as plain lines. A second Ctrl+C stops at "
    "once. Needs the extra [bold]mic[/bold]."
)


@app.command(help=HELP)
def mic(
    url: remote.URL = None,
    service: remote.SERVICE = None,
    local: Annotated[
        bool, typer.Option("--local", help="In this process, whatever servers there are; the default without a server.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="In this process: the model, as of transcribe.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="The microphone: its number, or a part of its name.")
    ] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Print the microphones and exit.")] = False,
    input: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Play this recording instead of a microphone, at the speed of speech."),
    ] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="End by itself after so many seconds.")] = None,
    save_audio: Annotated[
        Path | None, typer.Option(metavar="WAV", help="Keep what was heard: 24 kHz, 16 bit, mono.")
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="A word a line, after [HH:MM:SS].")] = False,
    vad_head: remote.VAD_HEAD = None,
    temperature: remote.TEMPERATURE = None,
    seed: remote.SEED = None,
    guard: remote.GUARD = None,
    keyterm: remote.KEYTERM = None,
    key: remote.KEY = None,
    token: remote.TOKEN = None,
    mint: remote.MINT = False,
    dialect: remote.DIALECT = None,
) -> int:
    if list_devices:
        return _list()
    found = None
    if not local:
        found = remote.service(service, url, key=key, token=token, mint=mint, dialect=dialect)
    elif url or service:
        raise typer.BadParameter("--local is without --url and --service")
    if found is not None and model:
        raise typer.BadParameter("--model is for a model in this process; a server has its own")
    source = _source(input, device)
    asked = {"vad_head": vad_head, "temperature": temperature, "seed": seed, "guard": guard, "key_terms": keyterm or ()}
    stream = _remote(found, asked) if found else _local(model, asked)
    asyncio.run(Session(source, stream, _view(found, timestamps, vad_head), duration, save_audio).run())
    return ExitCode.OK


class Source(Protocol):
    """Where sound comes from, in its own time."""

    lost: float  # seconds that could not be taken in time

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *error: object) -> None: ...
    def __aiter__(self) -> AsyncIterator[Samples]: ...


class Listener(Protocol):
    """A stream of a server, or of a model in this process."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *error: object) -> None: ...
    def __aiter__(self) -> AsyncIterator[ClientEvent]: ...
    async def send(self, samples: Samples) -> None: ...
    async def end(self) -> None: ...


class Session:
    """From the first sound to the last word."""

    def __init__(
        self, source: Source, stream: Listener, view: Callable[[float], View], duration: float | None, keep: Path | None
    ) -> None:
        from vivavoce.audio.level import Level

        self._source, self._stream, self._make_view = source, stream, view
        self._left = None if duration is None else round(duration * SAMPLE_RATE)
        self._keep = keep
        self._stop = asyncio.Event()
        self._level = Level()

    async def run(self) -> None:
        """Raises what the source, the stream or the file say."""
        from .keys import pressed

        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as opened:
            self._wav = opened.enter_context(_wav(self._keep)) if self._keep else None
            await opened.enter_async_context(self._stream)  # first: nothing is recorded before somebody listens
            await opened.enter_async_context(self._source)
            with suppress(NotImplementedError):  # Windows: Ctrl+C stops at once
                loop.add_signal_handler(signal.SIGINT, self._interrupt)
            opened.enter_context(pressed(loop, lambda key: self._stop.set() if key in "qQ" else None))
            self._view = self._make_view(loop.time())
            opened.callback(self._leave)
            await self._listen()

    def _interrupt(self) -> None:
        if self._stop.is_set():
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.raise_signal(signal.SIGINT)
        self._stop.set()

    def _leave(self) -> None:
        self._view.close()
        if self._source.lost:
            note(f"{self._source.lost:.1f} s of sound came faster than it was taken, and are missing")

    async def _listen(self) -> None:
        """Until the sound ends or somebody ends it, and the last words have come."""
        feeder, hearer, _, stopper = tasks = [
            asyncio.create_task(coroutine)
            for coroutine in (self._feed(), self._hear(), self._tick(), self._stop.wait())
        ]
        try:
            await asyncio.wait([feeder, hearer, stopper], return_when=asyncio.FIRST_COMPLETED)
            if feeder.done():
                await feeder
            feeder.cancel()
            if not hearer.done():
                await self._stream.end()
            async with asyncio.timeout(LAST_WORDS):
                await hearer
        except TimeoutError:
            raise VivavoceError(f"the last words did not come within {LAST_WORDS:.0f} s") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _feed(self) -> None:
        async for samples in self._source:
            samples = samples if self._left is None else samples[: self._left]
            if self._wav is not None:
                self._wav.writeframes(pcm16(samples))
            await self._stream.send(samples)
            self._level.update(samples)
            self._view.hear(self._level, asyncio.get_running_loop().time())
            if self._left is not None:
                self._left -= len(samples)
                if self._left <= 0:
                    return

    async def _hear(self) -> None:
        async for event in self._stream:
            if (said := remote.explained(event)) is not None:
                self._view.remark(said)
            self._view.tell(event, asyncio.get_running_loop().time())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self._view.refresh(asyncio.get_running_loop().time())


class Playback:
    """A recording that comes as if somebody said it now."""

    lost = 0.0

    def __init__(self, path: str) -> None:
        from vivavoce import audio

        self._blocks = audio.blocks(path, FRAME_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._blocks.close()

    async def __aiter__(self) -> AsyncIterator[Samples]:
        clock = asyncio.get_running_loop().time
        due = clock()
        for samples in self._blocks:
            due += len(samples) / SAMPLE_RATE
            await asyncio.sleep(due - clock())
            yield samples


def pcm16(samples: Samples) -> bytes:
    """Clamped: what is louder than full scale stays loud."""
    import numpy as np

    return np.round(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()


@contextmanager
def _wav(path: Path) -> Iterator[wave.Wave_write]:
    try:
        raw = path.open("wb")
    except OSError as error:
        raise VivavoceError(f"{path}: cannot be written ({error.strerror or error})") from None
    with raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        yield file


def _list() -> int:
    from vivavoce.audio.devices import devices

    found = devices()
    if not found:
        raise UnsupportedError("no microphone: this machine has no input device")
    for device in found:
        mark = "*" if device.default else " "
        typer.echo(f"{mark} {device.index:3}  {device.name}  ({device.channels} channels, {device.rate} Hz)")
    return ExitCode.OK


def _source(file: str | None, device: str | None) -> Source:
    if file is not None:
        return Playback(file)
    from vivavoce.audio.devices import choose, devices
    from vivavoce.audio.microphone import Microphone

    return Microphone(choose(devices(), device))


def _remote(service: Service, asked: dict[str, Any]) -> Listener:
    from vivavoce.client import connect

    return connect(service.url, live=True, vad=_on_a_terminal(), **asked, **service.options())


def _local(model: str | None, asked: dict[str, Any]) -> Listener:
    from vivavoce.engine.pool import rest
    from vivavoce.transcriber import Transcriber

    from .local import LocalStream

    said = {name: value for name, value in asked.items() if value is not None}
    loaded = Transcriber.load(model, batch_size=1, **said)
    rest(loaded.engine)
    return LocalStream(loaded)


def _view(service: Service | None, timestamps: bool, vad_head: int | None) -> Callable[[float], View]:
    """Makes the view when the time has come; it is given the time."""
    from .screen import Lines, Screen

    if not _on_a_terminal():
        return lambda _: Lines(timestamps=timestamps)
    from rich.console import Console

    from vivavoce.client import redacted

    title = redacted(service.url) if service else "in this process"
    return lambda now: Screen(
        Console(), title, now, vad_head=2 if vad_head is None else vad_head, timestamps=timestamps
    )


def _on_a_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
