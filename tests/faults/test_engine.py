"""The engine's process is killed under live streams; the whole server is told to end (bench/results/faults.md)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

import pytest

from vivavoce.bench.clip import Clip

from ..server.process import Server
from .witness import Spoken, alone, speak

BORDER = 0.081  # seconds: a restored context may hear a word begin or stop a frame earlier or later
STEPS = 30  # between two kills: an engine that dies before it has done anything counts as one that cannot start


def serving(slots: int) -> Server:
    return Server("--slots", str(slots), "--threads", "1", "--load-limit", "0")


async def all_at_once(url: str, clip: Clip, streams: int, loops: int) -> list[Spoken]:
    return await asyncio.gather(*(speak(url, clip, loops=loops) for _ in range(streams)))


def steps(server: Server) -> float:
    """Steps that all engines have made."""
    return server.metric('vivavoce_step_seconds_count{module="stt"}')


def until_it_has_stepped(server: Server, restarts: int) -> None:
    """The engine of that number serves, and has made some steps."""
    while (now := server.engine())["state"] != "ready" or now["restarts"] != restarts:
        time.sleep(0.05)
    before = steps(server)
    while steps(server) < before + STEPS:
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("kills", "streams", "loops"), [(2, 6, 1), pytest.param(10, 32, 6, marks=pytest.mark.slow)], ids=["2x6", "10x32"]
)
def test_kill_9_of_the_engine_under_live_streams_loses_and_repeats_no_word(
    long_clip: Clip, kills: int, streams: int, loops: int
) -> None:
    draw = random.Random(kills)

    async def killed(server: Server) -> list[Spoken]:
        talking = asyncio.create_task(all_at_once(server.url, long_clip, streams, loops))
        for number in range(kills):
            await asyncio.to_thread(until_it_has_stepped, server, number)
            await asyncio.sleep(draw.random())
            assert not talking.done(), f"the streams ended after {number} kills"
            os.kill(server.engine()["pid"], signal.SIGKILL)
        return await talking

    with serving(streams) as server:
        server.wait_ready()
        expected = alone(server.url, long_clip, loops)
        assert len(expected) == 22 * loops
        for heard in asyncio.run(killed(server)):
            assert [text for text, *_ in heard] == [text for text, *_ in expected]
            for word, other in zip(heard, expected, strict=True):
                assert word[1:] == pytest.approx(other[1:], abs=BORDER)
        now = server.engine()
        assert (now["restarts"], now["used_slots"], now["state"]) == (kills, 0, "ready")


@pytest.mark.parametrize("streams", [8, pytest.param(32, marks=pytest.mark.slow)])
def test_sigterm_under_live_streams_lets_each_finish_with_every_word(clip: Clip, streams: int) -> None:
    async def told_to_end(server: Server) -> list[Spoken]:
        talking = asyncio.create_task(all_at_once(server.url, clip, streams, 2))
        while server.engine()["used_slots"] < streams:
            await asyncio.sleep(0.05)
        server.signal()
        return await talking

    with serving(streams) as server:
        server.wait_ready()
        expected = alone(server.url, clip, 2)
        assert asyncio.run(told_to_end(server)) == [expected] * streams
        assert server.wait() == 0
