"""Streams that speak at real time while something goes wrong beside them, and must not notice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from vivavoce.bench import speaker
from vivavoce.bench.clip import Clip
from vivavoce.client import connect
from vivavoce.core import Word

FAST = 1_000.0  # times real time
PATIENCE = 60  # seconds; a bound for what hangs, no measurement
speaker.SILENT = 300.0  # the same: an engine that was killed is loaded again, on whatever machine the tests run on
Spoken = list[tuple[str, float, float]]


async def speak(url: str, clip: Clip, speed: float = 1.0, loops: int = 1) -> Spoken:
    """The words of one stream, and their times; a lost connection is a failure, nothing is resumed."""
    async with connect(url, resume=False) as stream:
        spoken = await speaker.Speaker.speak(stream, clip, speed, loops=loops)
    return [told(word) for heard in spoken.passes for word in heard.words]


def told(word: Word) -> tuple[str, float, float]:
    return word.text, word.start, word.stop


def alone(url: str, clip: Clip, loops: int = 1) -> Spoken:
    """What a stream says that has the server to itself."""
    return asyncio.run(speak(url, clip, FAST, loops))


@contextmanager
def witnesses(url: str, clip: Clip, expected: Spoken, count: int = 2) -> Iterator[None]:
    """From before the block until after it, `count` streams are always open and speak the clip at real time, each
    followed by another; every one of them must say what a lone one says."""
    over, speaking = threading.Event(), threading.Event()

    async def line(number: int) -> list[Spoken]:
        heard = []
        while not (heard and over.is_set()):
            speaking.set()
            heard.append(await speak(url, clip))
        return heard

    async def lines() -> list[list[Spoken]]:
        return await asyncio.gather(*map(line, range(count)))

    with ThreadPoolExecutor(1) as pool:
        testimony = pool.submit(asyncio.run, lines())
        try:
            assert speaking.wait(PATIENCE)
            yield
        finally:
            over.set()
        for heard in testimony.result():
            assert heard == [expected] * len(heard)
