"""How the tests talk to a stream, and what they compare."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Event, Word, WordEnded
from vivavoce.runtime import EngineSpec, Limits, Metrics, Runtime, Stream

Samples = NDArray[np.float32]
Spoken = list[tuple[str, float, float]]
ANY_LOAD = Limits(load_limit=0)  # how fast the machine of the tests is must not matter


@asynccontextmanager
async def running(spec: EngineSpec, limits: Limits | None = None, *, ready: bool = True) -> AsyncIterator[Runtime]:
    """A runtime that is stopped at the end, whatever happens."""
    runtime = Runtime(spec, limits or ANY_LOAD, Metrics())
    await runtime.start()
    try:
        if ready:
            await runtime.wait_ready()
        yield runtime
    finally:
        await runtime.stop()


async def send(stream: Stream, audio: Samples, chunk: int = 12_345, end: bool = True) -> None:
    for at in range(0, len(audio), chunk):
        await stream.push(audio[at : at + chunk])
    if end:
        stream.end()


async def events(stream: Stream, audio: Samples, chunk: int = 12_345) -> list[Event]:
    """Everything that a recording gives; the stream is closed."""
    try:
        sending = asyncio.create_task(send(stream, audio, chunk))
        heard = [event async for event in stream.events()]
        await sending
        return heard
    finally:
        stream.close()


def spoken(heard: Iterable[Event]) -> Spoken:
    """The words and their times: what must never change, whatever happens to the engine."""
    return [told(event.word) for event in heard if isinstance(event, WordEnded)]


def texts(words: Spoken) -> list[str]:
    return [text for text, *_ in words]


def told(word: Word) -> tuple[str, float, float]:
    return word.text, word.start, word.stop


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again; the limit only keeps a test that has failed from standing still."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.005)


def kill(runtime: Runtime, sig: int = signal.SIGKILL) -> None:
    assert runtime.pid
    with suppress(ProcessLookupError):
        os.kill(runtime.pid, sig)


def sample(runtime: Runtime, name: str, **labels: str) -> float:
    """One number of the metrics."""
    value = runtime._metrics.all.registry.get_sample_value(name, labels)
    assert value is not None, f"no sample {name} {labels}"
    return value
