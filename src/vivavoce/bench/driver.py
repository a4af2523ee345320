"""The clients of a load: streams in this process, or in one of its own (`python -m vivavoce.bench.driver`)."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from vivavoce.client.services import Service
from vivavoce.core import Fault, StreamError, VivavoceError

from . import clip
from .speaker import Speaker
from .targets import Target, explain

REFUSALS = {Fault.CAPACITY, Fault.OVERLOADED, Fault.UNAVAILABLE, Fault.RATE_LIMITED, Fault.GOING_AWAY}


@dataclass(frozen=True)
class Order:
    """Streams that speak one clip, `loops` times each; a stream for each offset, in seconds behind the common start."""

    service: Service
    clip: str | None  # a path; None is the example
    speed: float
    loops: int
    offsets: list[float]


@dataclass
class Told:
    """What one stream lived through; a list has an entry for each pass. Seconds."""

    refused: str | None = None  # it was not let in
    failed: str | None = None  # it ended early
    connect: float | None = None  # until the server was ready to listen
    speech_to_token: list[float | None] = field(default_factory=list)
    final_text: list[float | None] = field(default_factory=list)
    flushed: list[float] = field(default_factory=list)
    words: list[list[tuple[str, float]]] = field(default_factory=list)  # text and start
    late: list[float] = field(default_factory=list)  # of each message, after it was due


@dataclass(frozen=True)
class Driven:
    """All streams of a process, how long they took, and the processor time that they cost it."""

    streams: list[Told]
    seconds: float  # from the common start to the last event
    cpu_seconds: float


async def drive(order: Order, together: Callable[[], Awaitable[None]]) -> Driven:
    """Open every stream, wait for `together` so that all processes begin at once, speak, and tell."""
    cpu = time.process_time()
    loop = asyncio.get_running_loop()
    spoken = await asyncio.to_thread(clip.load, Path(order.clip) if order.clip else None)
    target, start = Target("", order.service), loop.create_future()
    tries = [_Try(target, spoken, order, offset, start) for offset in order.offsets]
    tasks = [asyncio.create_task(one.run()) for one in tries]
    try:
        for one in tries:
            await one.settled.wait()
        await together()
        began = loop.time()
        start.set_result(began)
        await asyncio.gather(*tasks)
        taken = loop.time() - began
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Driven([one.told for one in tries], taken, time.process_time() - cpu)


class _Try:
    """One stream; whatever happens to it, it is told."""

    def __init__(
        self, target: Target, spoken: clip.Clip, order: Order, offset: float, start: asyncio.Future[float]
    ) -> None:
        self._target, self._clip, self._order = target, spoken, order
        self._offset, self._start = offset, start
        self.told = Told()
        self.settled = asyncio.Event()  # it is connected, or will not be

    async def run(self) -> None:
        try:
            await self._speak()
        except VivavoceError as error:
            refused = self.told.connect is None and isinstance(error, StreamError) and error.fault in REFUSALS
            if refused:
                self.told.refused = explain(error)
            else:
                self.told.failed = explain(error)
        finally:
            self.settled.set()

    async def _speak(self) -> None:
        clock = asyncio.get_running_loop().time
        called = clock()
        async with self._target.open() as stream:
            self.told.connect = clock() - called
            self.settled.set()
            at = await self._start + self._offset
            speaker = await Speaker.speak(stream, self._clip, self._order.speed, loops=self._order.loops, at=at)
        told = self.told
        for heard in speaker.passes:
            told.speech_to_token.append(heard.speech_to_token())
            told.final_text.append(heard.to_final())
            told.flushed.append(heard.to_flushed() or 0.0)
            told.words.append([(word.text, word.start) for word in heard.words])
        told.late = speaker.late


async def elsewhere(order: Order, together: Callable[[], Awaitable[None]]) -> Driven:
    """`drive` in a process of its own. Raises VivavoceError with its last line when that fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vivavoce.bench.driver",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    complaint = asyncio.create_task(process.stderr.read())
    try:
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        if await process.stdout.readline() == b"ready\n":
            await together()
            process.stdin.write(b"go\n")
            told = await process.stdout.read()
            if await process.wait() == 0:
                return msgspec.json.decode(told, type=Driven)
        lines = (await complaint).decode(errors="replace").splitlines()
        raise VivavoceError(f"a process of clients failed: {lines[-1] if lines else 'it said nothing'}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await complaint


async def _obey() -> None:
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)

    async def together() -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if await asyncio.to_thread(sys.stdin.readline) != "go\n":
            sys.exit(1)  # the parent is gone

    driven = await drive(order, together)
    sys.stdout.write(msgspec.json.encode(driven).decode())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, who gets it too, ends this
    asyncio.run(_obey())
