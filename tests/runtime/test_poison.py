"""What an engine dies of again and again ends the stream that sent it, and no other."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from vivavoce.core import Event, Fault, Speech, SpeechEvent, StreamError
from vivavoce.runtime import EngineSpec, Limits, Metrics, SpeechRuntime, SpeechSpec, Stream, engine_process
from vivavoce.runtime import supervisor as supervision

from ..speech_folder import speaking_folder as speaking_folder
from .driver import Samples, Spoken, events, running, sample, send, spoken, until

ROOT = Path(__file__).parents[2]
LIMITS = Limits(load_limit=0, stall_seconds=60)  # so long that a busy machine is no reason


@pytest.fixture(autouse=True)
def _faulty_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines with defects; and three that die without a known cause, one after the other, are the end."""
    monkeypatch.setattr(engine_process, "WORKER", "tests.runtime.faulty_worker")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(supervision, "MOST_FAILURES", 3)


def poisoned(digits: Samples, value: float) -> Samples:
    """Speech, and in the midst of it one second that no engine can compute."""
    return np.concatenate([digits[:48_000], np.full(24_000, value, np.float32), digits])


async def at_real_time(stream: Stream, audio: Samples) -> list[Event]:
    async def speak() -> None:
        for at in range(0, len(audio), 1_920):
            await stream.push(audio[at : at + 1_920])
            await asyncio.sleep(0.08)
        stream.end()

    try:
        speaking = asyncio.create_task(speak())
        heard = [event async for event in stream.events()]
        await speaking
        return heard
    finally:
        stream.close()


@pytest.mark.parametrize(
    ("value", "engines", "limits"),
    [
        pytest.param(1.25, 2, LIMITS, id="raises"),
        pytest.param(1.5, 2, LIMITS, id="crashes"),
        pytest.param(1.75, 3, Limits(load_limit=0, stall_seconds=6), id="hangs", marks=pytest.mark.slow),
    ],
)
def test_a_stream_that_no_engine_survives_ends_alone(
    spec: EngineSpec, digits: Samples, said: Spoken, value: float, engines: int, limits: Limits
) -> None:
    """Beside one at real time and one that is far ahead; who comes meanwhile waits."""

    async def main() -> None:
        async with running(spec, limits) as runtime:
            good = [
                asyncio.create_task(at_real_time(runtime.open(), digits)),
                asyncio.create_task(events(runtime.open(), digits, 1_000)),
            ]
            with pytest.raises(StreamError) as ended:
                await events(runtime.open(), poisoned(digits, value))
            assert ended.value.fault is Fault.UNPROCESSABLE
            good.append(asyncio.create_task(events(runtime.open(), digits)))
            for heard in good:
                assert spoken(await heard) == said
            assert (runtime.restarts, runtime.slots_used) == (engines, 0)
            assert sample(runtime, "vivavoce_faults_total", module="stt", reason="unprocessable") == 1

    asyncio.run(main())


def test_each_of_several_is_found(spec: EngineSpec, digits: Samples, said: Spoken) -> None:
    async def main() -> None:
        async with running(spec, LIMITS) as runtime:
            bad = [asyncio.create_task(events(runtime.open(), poisoned(digits, 1.25))) for _ in range(2)]
            good = asyncio.create_task(events(runtime.open(), digits, 1_000))
            for one in bad:
                with pytest.raises(StreamError) as ended:
                    await one
                assert ended.value.fault is Fault.UNPROCESSABLE
            assert spoken(await good) == said
            assert runtime.state == "ready"

    asyncio.run(main())


def test_a_suspect_that_leaves_makes_room_for_the_next(spec: EngineSpec, digits: Samples, said: Spoken) -> None:
    """Nobody waits for a verdict over one who has gone."""

    async def main() -> None:
        async with running(spec, LIMITS) as runtime:
            bad = runtime.open()
            good = asyncio.create_task(events(runtime.open(), digits, 1_000))
            await send(bad, poisoned(digits, 1.25), end=False)
            await until(lambda: runtime.restarts == 1)
            bad.close()
            assert spoken(await good) == said
            assert runtime.state == "ready"

    asyncio.run(main())


def test_a_text_that_no_engine_survives_ends_alone(speaking_folder: Path) -> None:
    spec = SpeechSpec(str(speaking_folder), "cpu", slots=4, threads=1)

    async def say(runtime: SpeechRuntime, text: str) -> list[SpeechEvent]:
        stream = runtime.open()
        try:
            await stream.say(text)
            stream.end()
            return [event async for event in stream.events()]
        finally:
            stream.close()

    def samples(heard: list[SpeechEvent]) -> Samples:
        return np.concatenate([event.samples for event in heard if isinstance(event, Speech)])

    async def main() -> None:
        runtime = SpeechRuntime(spec, LIMITS, Metrics())
        await runtime.start()
        try:
            await runtime.wait_ready()
            alone = await say(runtime, "viva voce by the living voice")
            good = [asyncio.create_task(say(runtime, "viva voce by the living voice")) for _ in range(2)]
            with pytest.raises(StreamError) as ended:
                await say(runtime, "by the living " + "voice" * 30)
            assert ended.value.fault is Fault.UNPROCESSABLE
            for heard in good:
                np.testing.assert_allclose(samples(await heard), samples(alone), atol=1e-4)  # rounding of another batch
            assert runtime.restarts == 2
        finally:
            await runtime.stop()

    asyncio.run(main())
