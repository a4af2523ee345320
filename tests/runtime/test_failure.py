"""The engine may die at any moment: no word is lost, and none is said twice."""

from __future__ import annotations

import asyncio
import random
import signal
from asyncio import Runner
from collections.abc import Callable

import numpy as np
import pytest

from vivavoce.core import Event, Fault, StreamError
from vivavoce.runtime import EngineSpec, Limits, Runtime, StreamOptions
from vivavoce.runtime.parcels import head

from .driver import Samples, Spoken, events, kill, running, sample, send, spoken, until


@pytest.mark.parametrize("seed", [0, 1])
def test_kill_9_at_any_moment_changes_no_word(
    runner: Runner, runtime: Runtime, recording: Samples, all_said: Spoken, seed: int
) -> None:
    """Three streams that began at different times; the engine is killed again and again, at random points."""
    draw = random.Random(seed)

    async def main() -> None:
        before = runtime.restarts
        streams, tasks = [], list[asyncio.Task[list[Event]]]()
        for _ in range(3):
            streams.append(stream := runtime.open())
            tasks.append(asyncio.create_task(events(stream, recording, draw.randint(500, 50_000))))
            await reached(stream, draw.randint(0, 20))
        for kills in range(1, 3):
            await reached(streams[0], streams[0].steps + draw.randint(0, 50))
            kill(runtime)
            await until(lambda kills=kills: runtime.restarts == before + kills)  # type: ignore[misc]
        for heard in await asyncio.gather(*tasks):
            assert spoken(heard) == all_said

    runner.run(main())


async def reached(stream: object, steps: int) -> None:
    await until(lambda: stream.steps >= steps)  # type: ignore[attr-defined]


def test_kill_9_while_the_next_engine_loads_changes_no_word(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    """And a stream that opens meanwhile waits for the engine instead of being refused."""

    async def main() -> None:
        task = asyncio.create_task(events(stream := runtime.open(), digits))
        await reached(stream, 30)
        for _ in range(2):
            pid = runtime.pid
            kill(runtime)
            await until(lambda pid=pid: runtime.pid != pid)  # type: ignore[misc]
        assert runtime.state == "restarting"
        newcomer = asyncio.create_task(events(runtime.open(), digits))
        assert spoken(await task) == said
        assert spoken(await newcomer) == said
        assert runtime.state == "ready"

    runner.run(main())


def test_a_flush_and_an_end_outlive_the_engine(runner: Runner, runtime: Runtime, digits: Samples, said: Spoken) -> None:
    async def main() -> None:
        stream = runtime.open()
        kill(runtime, signal.SIGSTOP)
        await send(stream, digits, end=False)
        stream.flush("still there")
        stream.end()
        kill(runtime)
        heard = [event async for event in stream.events()]
        stream.close()
        assert spoken(heard) == said
        assert sum(getattr(event, "id", None) == "still there" for event in heard) == 1

    runner.run(main())


def test_an_engine_that_stands_still_is_killed(spec: EngineSpec, digits: Samples, said: Spoken) -> None:
    async def main() -> None:
        async with running(spec, Limits(load_limit=0, stall_seconds=2)) as runtime:
            stream = runtime.open()
            task = asyncio.create_task(events(stream, digits, 10_000))
            await reached(stream, 20)
            kill(runtime, signal.SIGSTOP)
            assert spoken(await task) == said
            assert sample(runtime, "vivavoce_engine_restarts_total", module="stt", reason="stall") >= 1

    asyncio.run(main())


def test_a_restart_under_load_changes_no_word_and_what_the_old_engine_still_says_is_not_heard(
    runner: Runner, runtime: Runtime, recording: Samples, all_said: Spoken
) -> None:
    async def main() -> None:
        old = runtime.pid
        streams = [runtime.open() for _ in range(3)]
        tasks = [asyncio.create_task(events(stream, recording, 10_000)) for stream in streams]
        await reached(streams[0], 20)
        await runtime.restart()
        assert runtime.pid != old
        assert runtime.state == "ready"
        for heard in await asyncio.gather(*tasks):
            assert spoken(heard) == all_said

    runner.run(main())


def test_a_parked_stream_outlives_the_engine(runner: Runner, runtime: Runtime, digits: Samples, said: Spoken) -> None:
    async def main() -> None:
        stream = runtime.open(StreamOptions(resumable=True))
        await send(stream, digits[:66_666], end=False)
        await reached(stream, 10)
        stream.park()
        kill(runtime)
        again = runtime.resume(stream.id)
        assert spoken(await events(again, digits[66_666:])) == said

    runner.run(main())


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_the_engine_leaves_signals_to_its_parent(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken, sig: signal.Signals
) -> None:
    async def main() -> None:
        pid = runtime.pid
        kill(runtime, sig)
        assert spoken(await events(runtime.open(), digits)) == said
        assert runtime.pid == pid

    runner.run(main())


def test_what_the_engine_cannot_read_is_told_and_hurts_nobody(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    def malformed() -> float:
        return sample(runtime, "vivavoce_malformed_messages_total", module="stt")

    async def main() -> None:
        pid, before = runtime.pid, malformed()
        task = asyncio.create_task(events(stream := runtime.open(), digits))
        await reached(stream, 5)
        engine = runtime._engine
        assert engine
        for number, nonsense in enumerate(NONSENSE, 1):
            engine._line._transport.write(nonsense(next(iter(runtime._slots.guests))))
            await until(lambda number=number: malformed() == before + number)  # type: ignore[misc]
        assert spoken(await task) == said
        assert runtime.pid == pid

    runner.run(main())


def test_an_engine_whose_computation_fails_ends_and_is_begun_again(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    """A seed beyond 64 bits passes as a message, and makes torch raise."""

    async def main() -> None:
        before = runtime.restarts
        task = asyncio.create_task(events(stream := runtime.open(), digits))
        await reached(stream, 20)
        engine = runtime._engine
        assert engine
        engine._line._transport.write(_message("Open", 10**6, 3, 0.0, 2**64 - 1)(0))
        assert spoken(await task) == said
        assert runtime.restarts == before + 1

    runner.run(main())


def _message(*message: object) -> Callable[[int], bytes]:
    import msgpack

    return lambda stream: head(msgpack.packb([[stream if part is STREAM else part for part in message]]))


STREAM = object()
NONSENSE: list[Callable[[int], bytes]] = [
    lambda _: head(b"\xff\xfe nonsense"),
    _message("Unheard", 1),
    _message("Frames", "no numbers", []),
    _message("Frames", [1], []),  # without audio
    lambda _: head(b"\x90", 3) + b"123",  # audio that is no frame, and nobody's
    _message("Open", STREAM, 3, 0.0, 0),
    _message("Open", 10**6, 99, 0.0, 0),
]


def test_a_stream_whose_state_no_engine_takes_ends_alone(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    """A history that cannot be this model's: the stream is told, its neighbour goes on."""

    async def main() -> None:
        bad, good = runtime.open(), runtime.open()
        task = asyncio.create_task(events(good, digits))
        await send(bad, digits[:40_000], end=False)
        await reached(bad, 5)
        history = bad._lane._history
        assert history
        history.add(np.zeros(1920, np.float32), 10**6, [0] * 16)
        kill(runtime)
        with pytest.raises(StreamError) as ended:
            _ = [event async for event in bad.events()]
        assert ended.value.fault is Fault.INTERNAL
        bad.close()
        assert spoken(await task) == said

    runner.run(main())
