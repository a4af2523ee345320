"""Runtimes of several workers share one engine: its slots, its ends, and the streams that move among them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from vivavoce.core import Fault, Speech, StreamError, WordEnded
from vivavoce.runtime import (
    EngineSpec,
    Hub,
    Limits,
    Metrics,
    Runtime,
    SpeechRuntime,
    SpeechSpec,
    Stream,
    StreamOptions,
    engine_process,
    share_of,
)

from ..speech_folder import speaking_folder as speaking_folder
from .driver import ANY_LOAD, Samples, Spoken, events, send, spoken, told, until

ROOT = Path(__file__).parents[2]
RESUMABLE = StreamOptions(resumable=True)
NULL = EngineSpec("null", "cpu", slots=2)
HALF = 66_000  # samples


@dataclass
class Workers:
    """The hub, and a runtime for each worker; here they are all in one process."""

    hub: Hub
    runtimes: list[Runtime]
    metrics: Metrics  # the hub's

    async def another(self, spec: EngineSpec, limits: Limits) -> Runtime:
        number = len(self.runtimes) + 1
        share = await share_of(await self.hub.connect(number, lambda: None), number)
        runtime = Runtime(spec, limits, Metrics(), share=share)
        await runtime.start()
        self.runtimes.append(runtime)
        return runtime


@asynccontextmanager
async def working(spec: EngineSpec, limits: Limits = ANY_LOAD, count: int = 2) -> AsyncIterator[Workers]:
    metrics = Metrics()
    hub = Hub(spec, limits, metrics, "stt")
    workers = Workers(hub, [], metrics)
    hub.start()
    try:
        for _ in range(count):
            await workers.another(spec, limits)
        await hub.wait_ready()
        for runtime in workers.runtimes:
            await runtime.wait_ready()
        yield workers
    finally:
        for runtime in workers.runtimes:
            await runtime.stop()
        await hub.stop()


async def agree(workers: Workers, used: int) -> None:
    """Until every worker knows that so many slots are taken."""
    await until(lambda: all(runtime.slots_used == used for runtime in workers.runtimes))


async def some_words(stream: Stream, count: int) -> Spoken:
    heard: Spoken = []
    async for event in stream.events():
        if isinstance(event, WordEnded):
            heard.append(told(event.word))
            if len(heard) == count:
                break
    return heard


async def rest(stream: Stream, after: int) -> Spoken:
    return [told(event.word) async for event in stream.events(after) if isinstance(event, WordEnded)]


def test_words_are_those_of_a_stream_alone_and_every_step_is_counted_once(
    spec: EngineSpec, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        async with working(spec) as workers:
            one, two = workers.runtimes
            streams = [one.open(), two.open(), one.open(), two.open()]
            await agree(workers, 4)
            heard = await asyncio.gather(*(events(stream, digits) for stream in streams))
            assert [spoken(some) for some in heard] == [said] * 4
            await agree(workers, 0)

            def value(metrics: Metrics, name: str) -> float:
                return metrics.registry.get_sample_value(name, {"module": "stt"}) or 0.0

            steps = value(workers.metrics, "vivavoce_step_seconds_count")
            assert steps > 0
            frames = value(workers.metrics, "vivavoce_step_streams_sum")  # late frames are heard many in a step
            assert frames * 0.08 <= sum(value(r._metrics.all, "vivavoce_audio_seconds_total") for r in (one, two))
            assert value(one._metrics.all, "vivavoce_step_seconds_count") == 0
            await until(lambda: one.step_seconds == two.step_seconds)  # each knows of all steps
            assert min(one.step_seconds) > 0
            assert one.pid == two.pid

    asyncio.run(main())


def test_slots_are_counted_over_all_workers() -> None:
    async def main() -> None:
        async with working(NULL) as workers:
            one, two = workers.runtimes
            first, second = one.open(), two.open()
            await agree(workers, 2)
            for runtime in workers.runtimes:
                with pytest.raises(StreamError, match=r"2 of 2") as refused:
                    runtime.open()
                assert refused.value.fault is Fault.CAPACITY
            first.close()
            await agree(workers, 1)
            two.open().close()
            second.close()
            await agree(workers, 0)

    asyncio.run(main())


def test_where_two_take_the_last_slot_at_once_one_is_told_so() -> None:
    async def main() -> None:
        async with working(replace(NULL, slots=1)) as workers:
            streams = [runtime.open() for runtime in workers.runtimes]
            ends = [asyncio.create_task(some_words(stream, 1)) for stream in streams]
            for stream in streams:
                await stream.push(np.ones(1_920, np.float32))
            done, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            [refused] = done
            error = refused.exception()
            assert isinstance(error, StreamError) and error.fault is Fault.CAPACITY and error.retry_after
            [other] = waiting
            winner = streams[ends.index(other)]
            await send(winner, np.ones(480_000, np.float32))
            await other  # the null engine says a word every other second
            winner.close()
            await agree(workers, 0)

    asyncio.run(main())


def test_a_parked_stream_gives_its_slot_to_another_workers_and_comes_back_for_one() -> None:
    async def main() -> None:
        async with working(NULL) as workers:
            one, two = workers.runtimes
            parked = one.open(RESUMABLE)
            await parked.push(np.ones(1_920, np.float32))
            await until(lambda: parked.steps == 1)
            parked.park()
            await until(lambda: two._slots.others.parked == 1)  # type: ignore[attr-defined]
            second, third = two.open(), two.open()
            await second.push(np.ones(1_920, np.float32))
            await third.push(np.ones(1_920, np.float32))
            await until(lambda: second.steps == third.steps == 1)
            await agree(workers, 2)
            with pytest.raises(StreamError) as refused:
                one.resume(parked.id)
            assert refused.value.fault is Fault.CAPACITY
            third.close()
            await agree(workers, 1)
            again = one.resume(parked.id)
            await again.push(np.ones(1_920, np.float32))
            await until(lambda: again.steps == 2)
            again.close()
            second.close()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["parked", "connected"])
def test_a_stream_goes_on_at_another_worker(spec: EngineSpec, digits: Samples, said: Spoken, how: str) -> None:
    """Also when the connection that it had seems alive; and all slots may be taken."""

    async def main() -> None:
        async with working(replace(spec, slots=1)) as workers:
            here, there = workers.runtimes
            stream = here.open(RESUMABLE)
            await stream.push(digits[:HALF])
            heard = await some_words(stream, 2)
            position = stream.position
            if how == "parked":
                stream.park()
            await there.fetch(stream.id)
            again = there.resume(stream.id)
            assert (again.received, workers.hub.streams(1), workers.hub.streams(2)) == (HALF, 0, 1)
            with pytest.raises(StreamError) as told_so:
                stream.flush(1)
            assert told_so.value.fault is Fault.NORMAL
            with pytest.raises(StreamError) as unknown:
                here.resume(stream.id)
            assert unknown.value.fault is Fault.UNKNOWN_SESSION
            reading = asyncio.create_task(rest(again, position))
            await again.push(digits[HALF:])
            again.end()
            assert heard + await reading == said
            again.park()  # it may be fetched once more, though it has ended
            await here.fetch(stream.id)
            last = here.resume(stream.id)
            assert await rest(last, position) == said[len(heard) :]
            last.close()
            await agree(workers, 0)

    asyncio.run(main())


def test_a_stream_whose_caller_has_gone_while_it_moved_gives_its_slot_to_another() -> None:
    async def main() -> None:
        async with working(replace(NULL, slots=1)) as workers:
            here, there = workers.runtimes
            stream = here.open(RESUMABLE)
            await stream.push(np.ones(1_920, np.float32))
            await until(lambda: stream.steps == 1)
            await there.fetch(stream.id)  # and nobody resumes it
            await until(lambda: here._slots.others.parked == 1)  # type: ignore[attr-defined]
            new = here.open()
            await new.push(np.ones(1_920, np.float32))
            await until(lambda: new.steps == 1)
            new.close()

    asyncio.run(main())


def test_a_stream_that_nobody_has_is_unknown() -> None:
    async def main() -> None:
        async with working(NULL, count=3) as workers:
            for runtime in workers.runtimes:
                await runtime.fetch("nobody's")
                with pytest.raises(StreamError) as unknown:
                    runtime.resume("nobody's")
                assert unknown.value.fault is Fault.UNKNOWN_SESSION

    asyncio.run(main())


def test_an_engine_that_is_killed_costs_no_word_at_any_worker(spec: EngineSpec, digits: Samples, said: Spoken) -> None:
    async def main() -> None:
        async with working(spec) as workers:
            streams = [runtime.open() for runtime in workers.runtimes for _ in range(2)]
            for stream in streams:
                await stream.push(digits[:HALF])
            heard = await asyncio.gather(*(some_words(stream, 2) for stream in streams))
            positions = [stream.position for stream in streams]
            before = workers.runtimes[0].pid
            assert before
            os.kill(before, signal.SIGKILL)
            reading = [asyncio.create_task(rest_of(stream)) for stream in streams]
            for stream in streams:
                await stream.push(digits[HALF:])
                stream.end()
            assert [some + await more for some, more in zip(heard, reading, strict=True)] == [said] * 4
            assert positions and all(runtime.restarts == 1 for runtime in workers.runtimes)
            assert len({runtime.pid for runtime in workers.runtimes} - {before}) == 1
            for stream in streams:
                stream.close()

    async def rest_of(stream: Stream) -> Spoken:
        return [told(event.word) async for event in stream.events() if isinstance(event, WordEnded)]

    asyncio.run(main())


def test_a_stream_that_no_engine_survives_ends_alone_whosever_it_is(
    spec: EngineSpec, digits: Samples, said: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_process, "WORKER", "tests.runtime.faulty_worker")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    poison = np.concatenate([digits[:48_000], np.full(24_000, 1.25, np.float32), digits])

    async def main() -> None:
        async with working(spec, Limits(load_limit=0, stall_seconds=60)) as workers:
            one, two = workers.runtimes
            good = [asyncio.create_task(events(runtime.open(), digits, 1_000)) for runtime in (one, two)]
            bad = [asyncio.create_task(events(runtime.open(), poison)) for runtime in (one, two)]
            for stream in bad:
                with pytest.raises(StreamError) as ended:
                    await stream
                assert ended.value.fault is Fault.UNPROCESSABLE
            for stream in good:
                assert spoken(await stream) == said
            assert one.state == two.state == "ready"

    asyncio.run(main())


def test_speech_is_shared_as_well_and_survives_the_engine(speaking_folder: Path) -> None:
    spec = SpeechSpec(str(speaking_folder), "cpu", slots=2, threads=1)

    async def say(runtime: SpeechRuntime, kill: Hub | None = None) -> Samples:
        stream = runtime.open()
        try:
            await stream.say("viva voce by the living voice")
            stream.end()
            heard = list[Samples]()
            async for event in stream.events():
                if isinstance(event, Speech):
                    heard.append(event.samples)
                    if kill and kill.info:
                        os.kill(kill.info.pid, signal.SIGKILL)
                        kill = None
            return np.concatenate(heard)
        finally:
            stream.close()

    async def main() -> None:
        metrics = Metrics()
        hub = Hub(spec, ANY_LOAD, metrics, "tts")
        hub.start()
        runtimes = list[SpeechRuntime]()
        try:
            for number in (1, 2):
                share = await share_of(await hub.connect(number, lambda: None), number)
                runtimes.append(SpeechRuntime(spec, ANY_LOAD, Metrics(), share=share))
                await runtimes[-1].start()
            for runtime in runtimes:
                await runtime.wait_ready()
            alone = await say(runtimes[0])
            both = await asyncio.gather(say(runtimes[0]), say(runtimes[1], hub))
            for heard in both:
                np.testing.assert_allclose(heard, alone, atol=1e-4)  # rounding of another batch
            assert [runtime.restarts for runtime in runtimes] == [1, 1]
            assert metrics.registry.get_sample_value("py_total_steps", {"handler": "all"})
        finally:
            for runtime in runtimes:
                await runtime.stop()
            await hub.stop()

    asyncio.run(main())


def test_a_worker_that_goes_leaves_its_slots_to_the_others_and_another_one_takes_part() -> None:
    async def main() -> None:
        async with working(NULL) as workers:
            one, two = workers.runtimes
            lost, kept = one.open(), two.open()
            await lost.push(np.ones(1_920, np.float32))
            await kept.push(np.ones(1_920, np.float32))
            await until(lambda: lost.steps == kept.steps == 1)
            one._share.line.close()  # type: ignore[union-attr]
            await until(lambda: two.slots_used == 1)
            three = await workers.another(NULL, ANY_LOAD)
            await three.wait_ready()
            await until(lambda: three.slots_used == 1)
            new = three.open()
            await new.push(np.ones(1_920, np.float32))
            await kept.push(np.ones(1_920, np.float32))
            await until(lambda: (new.steps, kept.steps) == (1, 2))
            new.close()
            kept.close()

    asyncio.run(main())


def test_an_engine_that_cannot_be_loaded_is_said_to_all(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")

    async def main() -> None:
        metrics = Metrics()
        spec = EngineSpec(str(tmp_path), "cpu", slots=1)
        hub = Hub(spec, ANY_LOAD, metrics, "stt")
        workers = Workers(hub, [], metrics)
        hub.start()
        runtime = await workers.another(spec, ANY_LOAD)
        with pytest.raises(StreamError, match=str(tmp_path)) as failed:
            await hub.wait_ready()
        with pytest.raises(StreamError, match=str(tmp_path)) as told_too:
            await runtime.wait_ready()
        assert failed.value.exit_code == told_too.value.exit_code == 5
        assert runtime.state == "broken"
        await runtime.stop()
        await hub.stop()

    asyncio.run(main())
