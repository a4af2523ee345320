"""A whole recording in one request: any file that can be decoded, heard as fast as the engine allows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from vivavoce import audio
from vivavoce.core import Event, Fault, InvalidAudioError, Refused, Transcript, seconds
from vivavoce.runtime import Runtime, Stream, StreamOptions
from vivavoce.session.draft import Draft

from ..gate import Admitted
from ..journal import Journal
from .caller import first_of
from .opening import open_stream
from .patient import watch
from .waiting import when_free

_BLOCK_SECONDS = 1.0
Tell = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True)
class Heard:
    """What was said in a recording."""

    events: list[Event]  # but for Vad
    seconds: float

    @property
    def transcript(self) -> Transcript:
        """Its words and turns."""
        draft = Draft()
        for event in self.events:
            draft.add(event)
        return draft.transcript(self.seconds)


def refuse_form(request: Request) -> None:
    """Raises Refused for a form: the body is the file itself."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        hint = "curl --data-binary @FILE, not -F"
        raise Refused(Fault.INVALID_MESSAGE, "form", "the body must be the audio file itself, not a form", hint)


async def transcribe(
    request: Request, runtime: Runtime, options: StreamOptions, dialect: str, admitted: Admitted
) -> Heard:
    """The words in the request's body.

    Raises StreamError CAPACITY (after a wait of 100 s) and whatever may befall a stream; InvalidAudioError for what is
    not audio.
    """
    with tempfile.NamedTemporaryFile(prefix="vivavoce-") as file:
        size = await _store(request, file)
        if not size:
            raise InvalidAudioError("the body is empty (0 bytes); send an audio file")
        return await hear(request, Path(file.name), runtime, options, dialect, admitted)


async def hear(
    request: Request,
    source: audio.Source,
    runtime: Runtime,
    options: StreamOptions,
    dialect: str,
    admitted: Admitted,
    tell: Tell | None = None,
    channel: int | None = None,
) -> Heard:
    """The words of a recording, or of one channel; `tell` gets every event but Vad as it comes. Raises as
    `transcribe`."""
    blocks = await asyncio.to_thread(audio.blocks, source, _BLOCK_SECONDS, name="the recording", channel=channel)
    try:
        stream = await when_free(request, runtime, lambda: open_stream(runtime, replace(options, vad=False)))
        try:
            with Journal(stream, runtime.name, dialect=dialect, who=admitted.who) as journal:
                return await _hear(request, stream, blocks, journal, admitted, tell)
        finally:
            stream.close()
    finally:
        blocks.close()


async def _store(request: Request, file: IO[bytes]) -> int:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        file.write(chunk)
    file.flush()
    return size


async def _hear(
    request: Request, stream: Stream, blocks: audio.Blocks, journal: Journal, admitted: Admitted, tell: Tell | None
) -> Heard:
    events: list[Event] = []

    async def collect() -> None:
        async for event in stream.events():
            journal.saw(event)
            if tell:
                await tell(event)
            events.append(event)

    async def feed() -> None:
        while (block := await _next(blocks)) is not None:
            await admitted.pay(len(block))
            await stream.push(block)
        stream.end()
        await asyncio.Event().wait()  # for the last words

    await first_of(collect(), feed(), watch(request))
    return Heard(events, seconds(stream.received))


async def _next(blocks: Iterator[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """The next block, decoded in a thread; also when cancelled, only when the thread is done with the file."""
    decoding = asyncio.ensure_future(asyncio.to_thread(next, blocks, None))
    try:
        return await asyncio.shield(decoding)
    except asyncio.CancelledError:
        await asyncio.wait({decoding})
        raise
