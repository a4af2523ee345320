"""Text to speech on a real engine: what is said, to the last sample, whatever happens to the engine meanwhile."""

from __future__ import annotations

import asyncio
import random
import signal
from asyncio import Runner
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from vivavoce.checkpoints.voice_file import read_voice
from vivavoce.core import (
    Cleared,
    Fault,
    Flushed,
    Speech,
    SpeechEvent,
    StreamError,
    UnknownVoiceError,
    UnsupportedError,
    VivavoceError,
    WordSpoken,
)
from vivavoce.runtime import Metrics, SpeechOptions, SpeechRuntime, SpeechSpec, SpeechStream
from vivavoce.runtime.parcels import head
from vivavoce.runtime.speech_lane import MOST_FLUSHES, MOST_WORDS

from ..speech_folder import SUFFIX, VOICES
from ..speech_folder import speaking_folder as speaking_folder
from .driver import ANY_LOAD, Samples, kill, sample, until

TEXT = "viva voce by the living voice, by the voice by the living viva"
SLOTS = 4


@pytest.fixture(scope="module")
def spec(speaking_folder: Path) -> SpeechSpec:
    return SpeechSpec(str(speaking_folder), "cpu", slots=SLOTS, threads=1)


@pytest.fixture(scope="module")
def runtime(runner: Runner, spec: SpeechSpec) -> Iterator[SpeechRuntime]:
    async def start() -> SpeechRuntime:
        runtime = SpeechRuntime(spec, ANY_LOAD, Metrics())
        await runtime.start()
        await runtime.wait_ready()
        return runtime

    runtime = runner.run(start())
    yield runtime
    runner.run(runtime.stop())


@pytest.fixture(scope="module")
def alone(runner: Runner, runtime: SpeechRuntime) -> list[SpeechEvent]:
    """The undisturbed run."""
    return runner.run(spoken(runtime, TEXT))


async def say(stream: SpeechStream, pieces: Sequence[str]) -> None:
    for piece in pieces:
        await stream.say(piece)
        await asyncio.sleep(0)
    stream.end()


async def events(stream: SpeechStream, pieces: Sequence[str]) -> list[SpeechEvent]:
    """Everything that a text gives; the stream is closed."""
    try:
        saying = asyncio.create_task(say(stream, pieces))
        heard = [event async for event in stream.events()]
        await saying
        return heard
    finally:
        stream.close()


async def spoken(runtime: SpeechRuntime, text: str, **options: object) -> list[SpeechEvent]:
    return await events(runtime.open(SpeechOptions(**options)), [text])  # type: ignore[arg-type]


def audio(heard: Sequence[SpeechEvent]) -> Samples:
    return np.concatenate([event.samples for event in heard if isinstance(event, Speech)] or [np.zeros(0, np.float32)])


def words(heard: Sequence[SpeechEvent]) -> list[tuple[str, float, float]]:
    return [(event.text, event.start, event.stop) for event in heard if isinstance(event, WordSpoken)]


def same(one: Sequence[SpeechEvent], other: Sequence[SpeechEvent]) -> None:
    """To the sample, but for what a processor's rounding in another batch or a prefill may change."""
    assert words(one) == words(other)
    np.testing.assert_allclose(audio(one), audio(other), atol=1e-4)


def test_a_text_becomes_words_and_audio(runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]) -> None:
    assert [text for text, *_ in words(alone)] == TEXT.split()
    assert all(start < stop for _, start, stop in words(alone))
    assert len(audio(alone)) >= words(alone)[-1][2] * 24_000
    assert audio(alone).std() > 0.01
    assert runtime.slots_used == 0


def test_how_the_text_is_cut_and_how_slowly_it_comes_changes_nothing(
    runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]
) -> None:
    async def main() -> None:
        same(await events(runtime.open(), [*TEXT]), alone)
        slow = runtime.open()
        reading = asyncio.create_task(collected(slow))
        for word in TEXT.split(" "):
            before = slow.steps
            await slow.say(word, whole=True)
            await quiet(lambda: slow.steps)
            assert slow.steps > before or word in TEXT.split(" ")[:3]  # two words are looked ahead to
        slow.end()
        same(await reading, alone)
        slow.close()

    runner.run(main())


async def collected(stream: SpeechStream) -> list[SpeechEvent]:
    return [event async for event in stream.events()]


async def quiet(value: object) -> None:
    """Until a number has not changed for a while."""
    before = None
    while before != value():  # type: ignore[operator]
        before = value()  # type: ignore[operator]
        await asyncio.sleep(0.2)


def test_neighbours_do_not_change_what_a_stream_says(
    runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]
) -> None:
    async def main() -> None:
        others = [runtime.open(SpeechOptions(voices=(name,), seed=seed)) for seed, name in enumerate(VOICES)]
        tasks = [asyncio.create_task(events(stream, ["living", " voice"])) for stream in others]
        same(await spoken(runtime, TEXT), alone)
        different = [audio(heard) for heard in await asyncio.gather(*tasks)]
        assert len({samples.tobytes() for samples in different}) == 3

    runner.run(main())


@pytest.mark.parametrize("seed", [0, 1])
def test_kill_9_at_any_moment_loses_no_audio_and_says_none_twice(
    runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent], seed: int
) -> None:
    draw = random.Random(seed)

    async def main() -> None:
        before = runtime.restarts
        streams, tasks = [], list[asyncio.Task[list[SpeechEvent]]]()
        for _ in range(3):
            streams.append(stream := runtime.open())
            tasks.append(asyncio.create_task(events(stream, pieces(draw))))
            await reached(stream, draw.randint(0, 8))
        for kills in range(1, 3):
            await reached(streams[0], streams[0].steps + draw.randint(0, 20))
            kill(runtime)
            await until(lambda kills=kills: runtime.restarts == before + kills)  # type: ignore[misc]
        for heard in await asyncio.gather(*tasks):
            same(heard, alone)

    runner.run(main())


async def reached(stream: SpeechStream, steps: int) -> None:
    await until(lambda: stream.steps >= steps)


def pieces(draw: random.Random) -> list[str]:
    cuts = sorted(draw.sample(range(1, len(TEXT)), 5))
    return [TEXT[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)]


def test_a_restart_moves_every_stream(runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]) -> None:
    async def main() -> None:
        old, stream = runtime.pid, runtime.open()
        task = asyncio.create_task(events(stream, [TEXT]))
        await until(lambda: stream.steps > 9)
        await runtime.restart()
        assert runtime.pid != old
        same(await task, alone)

    runner.run(main())


def test_an_engine_that_stands_still_is_replaced(spec: SpeechSpec, runner: Runner, alone: list[SpeechEvent]) -> None:
    async def main() -> None:
        runtime = SpeechRuntime(spec, ANY_LOAD.model_copy(update={"stall_seconds": 1.0}), Metrics())
        await runtime.start()
        try:
            await runtime.wait_ready()
            stream = runtime.open()
            task = asyncio.create_task(events(stream, [TEXT]))
            await until(lambda: stream.steps > 5)
            kill(runtime, signal.SIGSTOP)
            same(await task, alone)
            assert sample(runtime, "vivavoce_engine_restarts_total", module="tts", reason="stall") >= 1
        finally:
            await runtime.stop()

    runner.run(main())


def test_a_stream_that_waits_for_text_does_not_look_like_an_engine_that_stands_still(
    runner: Runner, spec: SpeechSpec
) -> None:
    async def main() -> None:
        runtime = SpeechRuntime(spec, ANY_LOAD.model_copy(update={"stall_seconds": 0.5}), Metrics())
        await runtime.start()
        try:
            await runtime.wait_ready()
            stream = runtime.open()
            await stream.say(TEXT)
            await quiet(lambda: stream.steps)
            await asyncio.sleep(1)
            assert runtime.restarts == 0
            stream.close()
        finally:
            await runtime.stop()

    runner.run(main())


def test_clear_drops_what_was_not_heard_and_goes_on_with_what_comes_next(
    runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]
) -> None:
    """Behind it the stream is as a new one."""

    async def main() -> None:
        stream = runtime.open()
        await stream.say("by the living voice by the living voice by")
        reader = stream.events()
        before = [await anext(reader)]
        while sum(isinstance(event, Speech) for event in before) < 4:
            before.append(await anext(reader))
        stream.clear()
        await stream.say(TEXT)
        stream.end()
        after = [event async for event in reader]
        stream.close()
        cut = [event for event in after if isinstance(event, WordSpoken)][: len(words(after)) - len(words(alone))]
        assert all(event.text in ("by", "the", "living", "voice") for event in cut)
        np.testing.assert_allclose(audio(after), audio(alone), atol=1e-4)
        later = stream._lane.session.time - len(audio(alone)) / 24_000
        assert [start for _, start, _ in words(after)[len(cut) :]] == pytest.approx(
            [start + later for _, start, _ in words(alone)]
        )

    runner.run(main())


def test_a_flush_is_answered_behind_the_last_of_its_audio_also_when_the_engine_dies(
    runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]
) -> None:
    async def main() -> None:
        stream = runtime.open()
        task = asyncio.create_task(collected(stream))
        await stream.say(TEXT)
        stream.flush("one")
        await reached(stream, 12)
        kill(runtime)
        await stream.say(TEXT)
        stream.flush("two")
        stream.flush("three")
        stream.end()
        heard = await task
        stream.close()
        one, two = heard.index(Flushed("one")), heard.index(Flushed("two"))
        assert heard[two:] == [Flushed("two"), Flushed("three")]
        same(heard[:one], alone)
        np.testing.assert_allclose(audio(heard[one:two]), audio(alone), atol=1e-4)

    runner.run(main())


def test_an_interruption_answers_flushes_and_drops_text_that_waits_to_be_taken(
    runner: Runner, runtime: SpeechRuntime
) -> None:
    async def main() -> None:
        stream = runtime.open()
        saying = asyncio.create_task(stream.say("voice " * 10 * MOST_WORDS))
        await until(lambda: stream.unread > 0)
        stream.flush("never")
        assert not saying.done()
        stream.clear()
        await saying
        await stream.say("by")
        stream.end()
        heard = await collected(stream)
        stream.close()
        at = next(number for number, event in enumerate(heard) if isinstance(event, Cleared))
        assert Flushed("never") in heard[:at]
        assert [text for text, *_ in words(heard[at:])] == ["by"]

    runner.run(main())


def test_flushes_that_wait_are_limited(runner: Runner, runtime: SpeechRuntime) -> None:
    async def main() -> None:
        stream = runtime.open()
        await stream.say("voice")
        for number in range(MOST_FLUSHES):
            stream.flush(number)
        with pytest.raises(StreamError, match="64 flushes wait") as error:
            stream.flush(0)
        assert error.value.fault is Fault.RATE_LIMITED
        stream.close()

    runner.run(main())


def test_clear_behind_the_end_ends_the_stream_and_outlives_the_engine(runner: Runner, runtime: SpeechRuntime) -> None:
    async def main() -> None:
        stream = runtime.open()
        await stream.say(TEXT)
        stream.end()
        await until(lambda: stream.steps > 5)
        kill(runtime)
        stream.clear()
        assert not audio(await collected(stream)).size
        stream.close()

    runner.run(main())


@pytest.mark.parametrize("text", ["", "  \n ", "\u200b"])
def test_no_text_is_answered_at_once(runner: Runner, runtime: SpeechRuntime, text: str) -> None:
    heard = runner.run(spoken_in_loop(runtime, text))
    assert [event for event in heard if isinstance(event, WordSpoken)] == [] or text == "\u200b"


@pytest.mark.parametrize("text", ["voice", "!", "… — !?", '<break time="0.3s"/>', "日本語", "voice <break time='1s'/>"])
def test_every_other_text_comes_to_an_end(runner: Runner, runtime: SpeechRuntime, text: str) -> None:
    assert audio(runner.run(spoken_in_loop(runtime, text))).size


async def spoken_in_loop(runtime: SpeechRuntime, text: str) -> list[SpeechEvent]:
    return await spoken(runtime, text)


def test_a_reader_that_does_not_read_is_waited_for(
    runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]
) -> None:
    async def main() -> None:
        before = runtime.limits
        runtime.limits = before.model_copy(update={"queue_seconds": 0.8})
        stream = runtime.open()
        runtime.limits = before
        await stream.say(TEXT)
        stream.end()
        await quiet(lambda: stream.steps)
        assert 10 <= stream.unread <= 14
        assert stream.queued <= 14 * 1920
        same(await collected(stream), alone)
        stream.close()

    runner.run(main())


def test_ten_thousand_words_are_taken_as_they_are_spoken(runner: Runner, runtime: SpeechRuntime) -> None:
    async def main() -> None:
        stream = runtime.open()
        saying = asyncio.create_task(stream.say("voice " * 10_000))
        reading = asyncio.create_task(collected(stream))
        await until(lambda: stream.steps > 20)
        waiting = stream._lane.session.waiting
        assert MOST_WORDS - 100 <= waiting <= MOST_WORDS + 4096
        assert not saying.done()
        stream.close()
        for task in (saying, reading):
            with pytest.raises(StreamError):
                await task

    runner.run(main())


def test_a_caller_that_leaves_in_the_middle_hurts_nobody(
    runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]
) -> None:
    async def main() -> None:
        task = asyncio.create_task(spoken(runtime, TEXT))
        for _ in range(10):
            stream = runtime.open()
            await stream.say("living voice by the living")
            await until(lambda stream=stream: stream.steps > 2)  # type: ignore[misc]
            stream.close()
        same(await task, alone)
        assert runtime.slots_used == 0

    runner.run(main())


def test_every_option_is_heard(runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]) -> None:
    async def main() -> None:
        changes = [{"seed": 1}, {"voices": (VOICES[1],)}, {"cfg": 3.0}, {"temperature": 2.0}, {"top_k": 2}]
        others = [audio(await spoken(runtime, TEXT, **change)).tobytes() for change in changes]
        assert len({*others, audio(alone).tobytes()}) == 1 + len(changes)
        same(await spoken(runtime, TEXT, voices=(VOICES[0],)), alone)  # the default
        same(await spoken(runtime, TEXT, cfg=2.2), await spoken(runtime, TEXT, cfg=2.0))  # the nearest there is
        greedy = [await spoken(runtime, TEXT, temperature=0.0, seed=seed) for seed in (1, 2)]
        same(*greedy)

    runner.run(main())


def test_an_embedding_speaks_as_the_voice_whose_it_is(
    runner: Runner, runtime: SpeechRuntime, speaking_folder: Path, alone: list[SpeechEvent]
) -> None:
    vectors = read_voice(speaking_folder / "voices" / f"{VOICES[0]}{SUFFIX}", 5, 12)

    async def main() -> None:
        stream = runtime.open(SpeechOptions(voices=(VOICES[2],)))
        with pytest.raises(UnsupportedError, match="of 1 to 5 frames and width 12, got \\[5, 11\\]"):
            stream.voice(vectors[:, :11])
        stream.voice(vectors)
        same(await events(stream, [TEXT]), alone)
        late = runtime.open()
        await late.say("voice")
        with pytest.raises(VivavoceError, match="before the first text"):
            late.voice(vectors)
        late.close()

    runner.run(main())


@pytest.mark.parametrize(
    ("options", "kind", "line"),
    [
        ({"voices": ("../../etc/passwd",)}, UnknownVoiceError, "no voice '../../etc/passwd'; there are 3, for example"),
        ({"voices": ("moods/hapy.wav",)}, UnknownVoiceError, "for example moods/happy.wav"),
        ({"voices": VOICES}, UnsupportedError, "at most 2 voices in one stream, got 3"),
    ],
)
def test_what_the_model_cannot_do_is_said_and_takes_no_slot(
    runner: Runner, runtime: SpeechRuntime, options: dict[str, object], kind: type[VivavoceError], line: str
) -> None:
    async def main() -> None:
        with pytest.raises(kind, match=line):
            runtime.open(SpeechOptions(**options))  # type: ignore[arg-type]
        assert runtime.slots_used == 0

    runner.run(main())


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"cfg": float("nan")}, {"top_k": 0}, {"seed": -1}])
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match="got"):
        SpeechOptions(**options)  # type: ignore[arg-type]


def test_a_full_runtime_refuses_and_an_idle_stream_is_ended(runner: Runner, runtime: SpeechRuntime) -> None:
    async def main() -> None:
        before = runtime.limits
        runtime.limits = before.model_copy(update={"idle_seconds": 0.3})
        streams = [runtime.open() for _ in range(SLOTS)]
        runtime.limits = before
        with pytest.raises(StreamError) as refused:
            runtime.open()
        assert refused.value.fault is Fault.CAPACITY
        for stream in streams:
            with pytest.raises(StreamError, match=r"no text came for 0.3 s") as ended:
                await collected(stream)
            assert ended.value.fault is Fault.CLIENT_TIMEOUT
            stream.close()

    runner.run(main())


def test_drain_lets_the_speaking_finish(runner: Runner, spec: SpeechSpec, alone: list[SpeechEvent]) -> None:
    async def main() -> None:
        runtime = SpeechRuntime(spec, ANY_LOAD, Metrics())
        await runtime.start()
        try:
            await runtime.wait_ready()
            task = asyncio.create_task(spoken(runtime, TEXT))
            await asyncio.sleep(0)
            draining = asyncio.create_task(runtime.drain(100))
            await asyncio.sleep(0)
            with pytest.raises(StreamError):
                runtime.open()
            same(await task, alone)
            await draining
        finally:
            await runtime.stop()

    runner.run(main())


def test_nonsense_on_the_line_hurts_nobody(runner: Runner, runtime: SpeechRuntime, alone: list[SpeechEvent]) -> None:
    import msgpack

    nonsense = [
        ["Frames", [], []],
        ["Speak", 99, 77, [[], b"", None, None, None, 0], 0],
        ["Grant", "x"],
        ["Text", 1],
    ]

    async def main() -> None:
        pid = runtime.pid
        before = sample(runtime, "vivavoce_malformed_messages_total", module="tts")
        task = asyncio.create_task(spoken(runtime, TEXT))
        assert runtime._engine
        for message in nonsense:
            runtime._engine._line._transport.write(head(msgpack.packb([message])))
        same(await task, alone)
        assert runtime.pid == pid
        assert sample(runtime, "vivavoce_malformed_messages_total", module="tts") == before + len(nonsense)

    runner.run(main())


def test_series_move_with_what_is_said(runner: Runner, spec: SpeechSpec) -> None:
    async def main() -> None:
        runtime = SpeechRuntime(spec, ANY_LOAD, Metrics())
        await runtime.start()
        try:
            await runtime.wait_ready()

            def now(name: str) -> float:
                plain = name.endswith(("_count", "_sum")) and name.startswith("py_")
                labels = {} if plain else {"handler": "all"} if name.startswith("py_") else {"module": "tts"}
                return sample(runtime, name, **labels)

            stream = runtime.open()
            assert now("py_connect") == now("py_open_channels") == now("vivavoce_slots_used") == 1
            await stream.say(TEXT)
            await quiet(lambda: stream.steps)
            assert now("vivavoce_queue_seconds") > 0
            assert now("py_missing_words_steps") > 0
            stream.end()
            heard = await collected(stream)
            stream.close()
            assert now("py_could_have_run_steps") == stream.steps == now("py_model_connection_num_steps_sum")
            assert now("py_active_steps") == now("py_model_step_duration_count") == now("vivavoce_step_seconds_count")
            assert now("py_total_steps") > now("py_active_steps")
            assert now("vivavoce_words_total") == len(words(heard))
            assert now("vivavoce_audio_seconds_total") == pytest.approx(len(audio(heard)) / 24_000)
            assert now("vivavoce_first_audio_seconds_count") == now("vivavoce_real_time_factor_count") == 1
            assert now("py_open_channels") == now("vivavoce_queue_seconds") == 0
        finally:
            await runtime.stop()

    runner.run(main())
