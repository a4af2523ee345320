"""How long a server lets a speaker wait: runs one after the other or at once, every time of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from vivavoce.core import FRAME_SECONDS, VivavoceError

from .clip import Clip
from .figures import summarise
from .scoring import word_error_rate
from .speaker import Pass, Speaker
from .targets import Target, explain


@dataclass(frozen=True)
class Run:
    """One stream from connecting to its end; times in seconds, None for what did not happen."""

    clip: str
    connect: float  # from the call to an open websocket
    ready: float  # from the call to the server's readiness to listen
    first_token: float | None  # from the first audio sent
    speech_to_token: float | None  # from where the sound begins
    final_text: float | None  # from the last sample sent to the last word event; negative when that came before
    flushed: float | None  # from the last sample sent to the answer of the flush sent with it
    total: float  # from the call to the end of the stream
    audio: float
    tokens: int
    words: int
    text: str
    wer: float | None  # None without a reference

    @property
    def rtf(self) -> float:
        """Time taken / audio: below 1 is faster than real time."""
        return (self.total - self.ready) / self.audio

    @property
    def speed_x(self) -> float:
        """Audio / time taken: the inverse."""
        return 1 / self.rtf


@dataclass(frozen=True)
class Failed:
    """A run that gave no figures."""

    clip: str
    reason: str


Result = Run | Failed
MEASURES = ("connect", "ready", "first_token", "speech_to_token", "final_text", "flushed", "total")


@dataclass(frozen=True)
class Report:
    """All runs against one target."""

    target: str
    results: Sequence[Result]

    @property
    def runs(self) -> list[Run]:
        return [result for result in self.results if isinstance(result, Run)]

    @property
    def failures(self) -> list[Failed]:
        return [result for result in self.results if isinstance(result, Failed)]

    @property
    def average(self) -> float:
        """Of the time to the first token, by which targets are compared; infinite where none came."""
        summary = summarise(run.first_token for run in self.runs)
        return summary.avg if summary else float("inf")

    def as_json(self) -> dict[str, Any]:
        """Runs, failures, and a summary of each measure (null where nothing was measured)."""
        names = (*MEASURES, "tokens", "words", "wer", "rtf", "speed_x")
        summaries = {name: summarise(getattr(run, name) for run in self.runs) for name in names}
        return {
            "target": self.target,
            "runs": [{**asdict(run), "rtf": run.rtf, "speed_x": run.speed_x} for run in self.runs],
            "failures": [asdict(failure) for failure in self.failures],
            "summary": {name: asdict(summary) if summary else None for name, summary in summaries.items()},
        }


async def run_once(
    target: Target, clip: Clip, speed: float, delay: float = 0.0, watch: Callable[[Pass], None] | None = None
) -> Result:
    """Open a stream, speak the clip once, end; `watch` is given the pass when its first audio is sent."""
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(delay)
    called = clock()
    try:
        async with target.open() as stream:
            ready = clock()
            spoken = await Speaker.speak(stream, clip, speed, watch=watch)
            connected, ended = stream.opened, clock()
    except VivavoceError as error:
        return Failed(clip.name, explain(error))
    assert connected is not None, "a stream that was entered has a websocket"
    heard = spoken.passes[0]
    return Run(
        clip=clip.name,
        connect=connected - called,
        ready=ready - called,
        first_token=heard.to_first_token(),
        speech_to_token=heard.speech_to_token(),
        final_text=heard.to_final(),
        flushed=heard.to_flushed(),
        total=ended - called,
        audio=clip.duration,
        tokens=heard.tokens,
        words=len(heard.words),
        text=heard.text,
        wer=None if clip.reference is None else word_error_rate(clip.reference, heard.text),
    )


async def rounds(
    target: Target,
    clips: Sequence[Clip],
    *,
    runs: int,
    parallel: int,
    speed: float,
    watch: Callable[[int, Clip, Pass], None] | None = None,
) -> AsyncIterator[tuple[int, Result]]:
    """(number, result) of each run as it finishes.

    One at a time every clip is spoken `runs` times; with `parallel` streams there are `runs` rounds of so many, begun
    within 80 ms, the clips in turn.
    """
    jobs = [clips[number % len(clips)] for number in range(runs * (parallel or len(clips)))]
    width = max(1, parallel)

    async def one(number: int) -> tuple[int, Result]:
        tell = None if watch is None else partial(watch, number, jobs[number])
        return number, await run_once(target, jobs[number], speed, FRAME_SECONDS * (number % width) / width, tell)

    for first in range(0, len(jobs), width):
        for done in asyncio.as_completed([one(number) for number in range(first, min(first + width, len(jobs)))]):
            yield await done
