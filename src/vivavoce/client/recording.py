"""A whole recording through a server: the transcript, and what it took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from vivavoce import audio
from vivavoce.core import FRAME_SECONDS, FRAME_SIZE, SAMPLE_RATE, Transcript
from vivavoce.session.draft import Draft

from .backlog import Samples
from .connect import connect
from .events import ClientEvent, Gap
from .stream import SttStream


@dataclass
class Heard(Draft):
    """What a stream told, as far as it has."""

    gaps: list[Gap] = field(default_factory=list)

    def add(self, event: object) -> None:
        if isinstance(event, Gap):
            self.gaps.append(event)
        else:
            super().add(event)


def transcribe(url: str, path: str | PathLike[str], **options: Any) -> Transcript:
    """The words of a recording, from a server, as fast as it likes. `options` are those of `connect`.

    Raises what `connect` raises, AudioNotFoundError and InvalidAudioError.
    """

    async def run() -> Transcript:
        async with connect(url, **options) as stream:
            heard = await hear(stream, audio.blocks(Path(path)))
            return heard.transcript(stream.duration)

    return asyncio.run(run())


async def hear(
    stream: SttStream,
    blocks: Iterator[Samples],
    *,
    speed: float = 0.0,
    told: Callable[[ClientEvent], None] | None = None,
    progress: Callable[[float], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Heard:
    """Send blocks of samples and end; everything that was heard.

    `speed` 1 is real time, 2 twice that, 0 as fast as the server takes it. `told` is called with each event, `progress`
    with the seconds sent since. Once `stop` is set no more is sent, and the stream ends as if the recording had.
    """
    heard = Heard()

    async def listen() -> None:
        async for event in stream:
            heard.add(event)
            if told is not None:
                told(event)

    listener = asyncio.create_task(listen())
    try:
        await _send(stream, blocks, speed, progress, stop or asyncio.Event())
        await stream.end()
        await listener
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
    return heard


async def _send(
    stream: SttStream,
    blocks: Iterator[Samples],
    speed: float,
    progress: Callable[[float], None] | None,
    stop: asyncio.Event,
) -> None:
    pace = Pace(speed)
    with closing(_pieces(blocks, speed > 0)) as pieces:
        for piece in pieces:
            if stop.is_set():
                break
            await pace.wait(len(piece) / SAMPLE_RATE, stop)
            await stream.send(piece)
            if progress is not None:
                progress(len(piece) / SAMPLE_RATE)


def _pieces(blocks: Iterator[Samples], paced: bool) -> Generator[Samples, None, None]:
    """Blocks as they are, or, to be sent at a pace, in frames."""
    for block in blocks:
        yield from np.split(block, range(FRAME_SIZE, len(block), FRAME_SIZE)) if paced else [block]


class Pace:
    """Sends audio by a schedule, so that what was late is caught up."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._due: float | None = None

    async def wait(self, duration: float, stop: asyncio.Event) -> None:
        """Until `duration` seconds of audio, following those before, have been said; at once without a speed."""
        if self._speed <= 0:
            return
        clock = asyncio.get_running_loop().time
        now = clock()
        self._due = (now if self._due is None else max(self._due, now - FRAME_SECONDS * 25)) + duration / self._speed
        if self._due > now:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._due - now):
                    await stop.wait()
