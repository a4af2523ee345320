"""How long a stream may be silent, absent or unread, and what its end is then called."""

from __future__ import annotations

import asyncio
import signal
from asyncio import Runner
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from vivavoce.core import Event, Fault, Flushed, StreamError
from vivavoce.runtime import Runtime, Stream, StreamOptions

from .driver import Samples, Spoken, events, kill, send, spoken, until

SILENCE = np.zeros(1920, np.float32)


@contextmanager
def limited(runtime: Runtime, **changes: float) -> Iterator[None]:
    """Streams that open meanwhile have these limits."""
    before = runtime.limits
    runtime.limits = before.model_copy(update=changes)
    yield
    runtime.limits = before


async def fault(stream: Stream) -> StreamError:
    """What ends the stream."""
    with pytest.raises(StreamError) as ended:
        async for _ in stream.events():
            pass
    stream.close()
    return ended.value


async def until_flushed(stream: Stream) -> list[Event]:
    """The events up to a flush's answer."""
    heard = list[Event]()
    async for event in stream.events():
        heard.append(event)
        if isinstance(event, Flushed):
            break
    return heard


def timed_out(runtime: Runtime) -> float:
    registry = runtime._metrics.all.registry  # without the number until there was one
    return registry.get_sample_value("vivavoce_faults_total", {"module": "stt", "reason": "client_timeout"}) or 0.0


def test_a_silent_caller_is_gone(runner: Runner, runtime: Runtime) -> None:
    async def main() -> None:
        with limited(runtime, idle_seconds=0.05):
            stream = runtime.open()
        ended = await fault(stream)
        assert ended.fault is Fault.CLIENT_TIMEOUT
        assert str(ended) == "no audio came for 0.05 s"
        with pytest.raises(StreamError):
            await stream.push(SILENCE)

    before = timed_out(runtime)
    runner.run(main())
    assert timed_out(runtime) == before + 1


@pytest.mark.parametrize("act", ["push", "keepalive", "flush"])
def test_whoever_says_something_is_there(runner: Runner, runtime: Runtime, act: str) -> None:
    async def main() -> None:
        with limited(runtime, idle_seconds=0.5):
            stream = runtime.open()
        for _ in range(8):
            await asyncio.sleep(0.1)
            if act == "push":
                await stream.push(SILENCE)
            elif act == "flush":
                stream.flush(0)
            else:
                stream.keepalive()
        assert (await fault(stream)).fault is Fault.CLIENT_TIMEOUT

    runner.run(main())


def test_after_the_end_nobody_is_idle(runner: Runner, runtime: Runtime, digits: Samples, said: Spoken) -> None:
    async def main() -> None:
        with limited(runtime, idle_seconds=0.1):
            stream = runtime.open()
        await send(stream, digits)
        await asyncio.sleep(0.3)
        assert spoken([event async for event in stream.events()]) == said
        stream.close()

    runner.run(main())


def test_whoever_sent_much_at_once_is_not_idle_while_it_is_stepped(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        with limited(runtime, idle_seconds=0.2):
            stream = runtime.open()
        await stream.push(np.tile(digits, 3)[: 9 * 24_000])  # takes the engine longer than the limit
        stream.flush("all")
        heard = await until_flushed(stream)
        stream.close()
        assert len(spoken(heard)) >= len(said)

    runner.run(main())


def test_whoever_waits_for_an_engine_is_not_idle(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        with limited(runtime, idle_seconds=0.2):
            stream = runtime.open()
        await until(lambda: runtime.state == "ready")
        kill(runtime, signal.SIGSTOP)
        await stream.push(digits)
        stream.flush("all")
        await asyncio.sleep(1)
        kill(runtime, signal.SIGCONT)
        heard = await until_flushed(stream)
        assert spoken(heard) == said
        assert (await fault(stream)).fault is Fault.CLIENT_TIMEOUT  # now it is the engine that waits for the caller

    runner.run(main())


def test_a_caller_may_be_given_another_time_to_be_idle_and_another_reason(runner: Runner, runtime: Runtime) -> None:
    async def main() -> None:
        hasty, calm = runtime.open(), runtime.open()
        with limited(runtime, idle_seconds=0.05):
            patient = runtime.open()
        hasty.idle_after(0.05, StreamError(Fault.CLIENT_TIMEOUT, "too quiet"))
        patient.idle_after(0, StreamError(Fault.CLIENT_TIMEOUT, "too quiet"))
        assert str(await fault(hasty)) == "too quiet"
        await asyncio.sleep(0.2)
        for stream in (patient, calm):
            stream.keepalive()
            stream.close()

    runner.run(main())


def test_whoever_waits_for_room_is_not_idle(runner: Runner, runtime: Runtime, digits: Samples, said: Spoken) -> None:
    async def main() -> None:
        with limited(runtime, idle_seconds=0.3, queue_seconds=0.2):
            stream = runtime.open()
        assert spoken(await events(stream, digits, 50_000)) == said

    runner.run(main())


def test_the_longest_session(runner: Runner, runtime: Runtime) -> None:
    async def main() -> None:
        with limited(runtime, session_seconds=0.2):
            stream = runtime.open()
        await until(lambda: runtime.slots_used == 0)
        with pytest.raises(StreamError) as ended:
            await stream.push(SILENCE)
        assert ended.value.fault is Fault.SESSION_TIMEOUT
        assert (await fault(stream)).fault is Fault.SESSION_TIMEOUT

    runner.run(main())


def test_a_reader_that_does_not_read(runner: Runner, runtime: Runtime, digits: Samples) -> None:
    async def main() -> None:
        with limited(runtime, event_backlog=20):
            stream = runtime.open()
        with pytest.raises(StreamError) as ended:
            await send(stream, np.tile(digits, 4))
        assert ended.value.fault is Fault.SLOW_READER
        assert (await fault(stream)).fault is Fault.SLOW_READER

    runner.run(main())


def test_what_was_not_read_before_a_fault_can_still_be_read(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        with limited(runtime, idle_seconds=0.2):
            stream = runtime.open()
        await send(stream, digits, end=False)
        stream.flush(1)
        await until(lambda: runtime.slots_used == 0)
        heard = list[Event]()
        with pytest.raises(StreamError):
            await collect(stream, heard)
        stream.close()
        assert heard
        assert spoken(heard) == said[: len(spoken(heard))]

    runner.run(main())


async def collect(stream: Stream, heard: list[Event]) -> None:
    async for event in stream.events():
        heard.append(event)  # noqa: PERF401  # what came before the fault counts


# --- parking ---

RESUMABLE = StreamOptions(resumable=True)


def test_a_parked_stream_goes_on_where_it_was(runner: Runner, runtime: Runtime, digits: Samples, said: Spoken) -> None:
    async def main() -> None:
        stream = runtime.open(RESUMABLE)
        await send(stream, digits[:111_111], end=False)
        stream.park()
        again = runtime.resume(stream.id)
        assert again.received == 111_111
        assert spoken(await events(again, digits[111_111:])) == said

    runner.run(main())


def test_events_that_the_lost_connection_may_not_have_seen_come_again(
    runner: Runner, runtime: Runtime, digits: Samples
) -> None:
    async def main() -> None:
        stream = runtime.open(RESUMABLE)
        await send(stream, digits)
        heard = [event async for event in stream.events()]
        assert stream.position == len(heard)
        stream.park()
        assert runtime.slots_used == 0  # the stream has ended, but its end may not have been seen
        again = runtime.resume(stream.id)
        assert [event async for event in again.events(after=10)] == heard[10:]
        again.close()
        with pytest.raises(StreamError) as unknown:
            runtime.resume(stream.id)
        assert unknown.value.fault is Fault.UNKNOWN_SESSION

    runner.run(main())


def test_a_session_can_be_taken_over_from_a_connection_that_seems_alive(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        stream = runtime.open(RESUMABLE)
        reading = asyncio.create_task(fault(stream))
        await send(stream, digits[:100_000], end=False)
        again = runtime.resume(stream.id)
        assert (await reading).fault is Fault.NORMAL  # the old end is told, and its close closes nothing
        with pytest.raises(StreamError):
            stream.end()
        stream.park()
        sending = asyncio.create_task(send(again, digits[100_000:]))
        assert spoken([event async for event in again.events(after=0)]) == said
        await sending
        again.close()

    runner.run(main())


def test_the_slot_of_a_parked_stream_goes_to_a_newcomer_and_the_stream_into_another(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        stream = runtime.open(RESUMABLE)
        await send(stream, digits[:111_111], end=False)
        await until(lambda: stream.steps > 10)
        stream.park()
        others = [runtime.open() for _ in range(runtime.slots)]
        with pytest.raises(StreamError) as full:
            runtime.resume(stream.id)
        assert full.value.fault is Fault.CAPACITY
        others.pop(0).close()
        again = runtime.resume(stream.id)
        assert spoken(await events(again, digits[111_111:])) == said
        for other in others:
            other.close()

    runner.run(main())


def test_a_resumable_stream_whose_caller_is_idle_is_parked(
    runner: Runner, runtime: Runtime, digits: Samples, said: Spoken
) -> None:
    async def main() -> None:
        with limited(runtime, idle_seconds=0.3):
            stream = runtime.open(RESUMABLE)
        reading = asyncio.create_task(fault(stream))
        await send(stream, digits[:111_111], end=False)
        ended = await reading
        assert (ended.fault, str(ended)) == (Fault.CLIENT_TIMEOUT, "no audio came for 0.3 s")
        with pytest.raises(StreamError, match=r"no audio came for 0\.3 s"):
            await stream.push(SILENCE)
        again = runtime.resume(stream.id)
        with pytest.raises(StreamError) as elsewhere:
            stream.keepalive()
        assert elsewhere.value.fault is Fault.NORMAL
        sending = asyncio.create_task(send(again, digits[111_111:]))
        assert spoken([event async for event in again.events(after=0)]) == said
        await sending
        again.close()

    before = timed_out(runtime)
    runner.run(main())
    assert timed_out(runtime) == before + 1


def test_a_parked_stream_is_not_kept_for_ever(runner: Runner, runtime: Runtime) -> None:
    async def main() -> None:
        with limited(runtime, resume_seconds=0.05, idle_seconds=0.01):
            stream = runtime.open(RESUMABLE)
            stream.park()
        assert runtime.slots_used == 1
        await until(lambda: runtime.slots_used == 0)
        with pytest.raises(StreamError) as unknown:
            runtime.resume(stream.id)
        assert unknown.value.fault is Fault.UNKNOWN_SESSION

    runner.run(main())


def test_a_stream_that_is_not_resumable_is_closed_when_it_would_be_parked(runner: Runner, runtime: Runtime) -> None:
    async def main() -> None:
        stream = runtime.open()
        stream.park()
        assert runtime.slots_used == 0
        with pytest.raises(StreamError):
            runtime.resume(stream.id)

    runner.run(main())
