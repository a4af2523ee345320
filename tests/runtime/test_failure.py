"""The engine may die at any moment: no word is lost, and none is said twice."""

from __future__ import annotations

import asyncio
import random

import pytest

from vivavoce.runtime import Runtime

from .driver import Samples, Spoken, events, kill, spoken, until


@pytest.mark.parametrize("seed", range(2))
def test_kill_9_at_any_moment_changes_no_word(
    runner: asyncio.Runner, runtime: Runtime, digits: Samples, said: Spoken, seed: int
) -> None:
    """Three streams that began at different times; the engine is killed again and again, at random points."""
    draw = random.Random(seed)

    async def main() -> None:
        before = runtime.restarts
        streams = [runtime.open() for _ in range(3)]
        tasks = list[asyncio.Task[list]]()
        for stream in streams:
            tasks.append(asyncio.create_task(events(stream, digits, draw.randint(500, 50_000))))
            steps = draw.randint(0, 20)
            await until(lambda stream=stream, steps=steps: stream.steps >= steps)
        for kills in range(1, 4):
            steps = streams[0].steps + draw.randint(0, 40)
            await until(lambda steps=steps: streams[0].steps >= steps or tasks[0].done())
            kill(runtime)
            await until(lambda kills=kills: runtime.restarts == before + kills)
        for heard in await asyncio.gather(*tasks):
            assert spoken(heard) == said

    runner.run(main())
    runner.run(runtime.wait_ready())


def test_kill_9_while_the_next_engine_loads_changes_no_word(
    runner: asyncio.Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        stream = runtime.open()
        task = asyncio.create_task(events(stream, digits))
        await until(lambda: stream.steps >= 50)
        first = runtime.pid
        kill(runtime)
        await until(lambda: runtime.pid != first)
        second = runtime.pid
        kill(runtime)
        await until(lambda: runtime.pid != second)
        assert spoken(await task) == said

    runner.run(main())
