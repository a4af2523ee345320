"""A whole recording in one request: any file that can be decoded, heard as fast as the engine allows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from vivavoce import audio
from vivavoce.core import Fault, InvalidAudioError, WordEnded, WordStarted, seconds
from vivavoce.runtime import Runtime, Stream, StreamOptions

from ..errors import Refused
from ..journal import Journal
from .caller import first_of
from .opening import open_stream
from .waiting import gone, when_free

_BLOCK_SECONDS = 1.0


@dataclass(frozen=True)
class Heard:
    """What was said in a recording."""

    events: list[WordStarted | WordEnded]
    seconds: float


def refuse_form(request: Request) -> None:
    """Raises Refused for a form: the body is the file itself."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        hint = "curl --data-binary @FILE, not -F"
        raise Refused(Fault.INVALID_MESSAGE, "form", "the body must be the audio file itself, not a form", hint)


async def transcribe(request: Request, runtime: Runtime, options: StreamOptions, dialect: str, who: str) -> Heard:
    """The words in the request's body.

    Raises StreamError CAPACITY (after a wait of 100 s) and whatever may befall a stream; InvalidAudioError for what is
    not audio.
    """
    with tempfile.NamedTemporaryFile(prefix="vivavoce-") as file:
        size = await _store(request, file)
        if not size:
            raise InvalidAudioError("the body is empty (0 bytes); send an audio file")
        blocks = await asyncio.to_thread(audio.blocks, Path(file.name), _BLOCK_SECONDS, name="the recording")
        try:
            stream = await when_free(request, runtime, lambda: open_stream(runtime, options))
            try:
                with Journal(stream, runtime.name, dialect=dialect, who=who) as journal:
                    return await _hear(request, stream, blocks, journal)
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


async def _hear(request: Request, stream: Stream, blocks: audio.Blocks, journal: Journal) -> Heard:
    events: list[WordStarted | WordEnded] = []

    async def collect() -> None:
        async for event in stream.events():
            journal.saw(event)
            if isinstance(event, WordStarted | WordEnded):
                events.append(event)

    async def feed() -> None:
        while (block := await _next(blocks)) is not None:
            await stream.push(block)
        stream.end()
        await asyncio.Event().wait()  # for the last words

    await first_of(collect(), feed(), _watch(request))
    return Heard(events, seconds(stream.received))


async def _next(blocks: Iterator[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """The next block, decoded in a thread; also when cancelled, only when the thread is done with the file."""
    decoding = asyncio.ensure_future(asyncio.to_thread(next, blocks, None))
    try:
        return await asyncio.shield(decoding)
    except asyncio.CancelledError:
        await asyncio.wait({decoding})
        raise


async def _watch(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(1)
    raise gone()
