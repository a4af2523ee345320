"""Key terms of a stream: as the library hears with them, whatever happens to the engine or the server."""

from __future__ import annotations

import asyncio
from asyncio import Runner
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vivavoce import Transcriber
from vivavoce.core import Healed, KeyTerm, UnsupportedError
from vivavoce.runtime import Metrics, Runtime, StreamOptions

from ..example import HEARD_WITH_TERM, TERM, doubtful
from .driver import ANY_LOAD, Samples, Spoken, events, kill, running, spoken, texts, told, until
from .test_vault import Shelf, rest

TERMS = (KeyTerm(TERM), KeyTerm("nine nine"))
LED = StreamOptions(key_terms=TERMS, resumable=True)


@pytest.fixture(scope="module")
def noisy() -> Samples:
    return doubtful()


@pytest.fixture(scope="module")
def plain(alone: Callable[[Samples], Spoken], noisy: Samples) -> Spoken:
    return alone(noisy)


@pytest.fixture(scope="module")
def led(noisy: Samples, plain: Spoken) -> Spoken:
    """What the library hears with them."""
    heard = [told(word) for word in Transcriber.load(device="cpu").transcribe(noisy, key_terms=TERMS)]
    assert texts(heard) == HEARD_WITH_TERM.split() != texts(plain)
    return heard


def test_a_stream_hears_as_the_library_does_beside_one_without_terms(
    runner: Runner, runtime: Runtime, noisy: Samples, plain: Spoken, led: Spoken
) -> None:
    async def both() -> list[Spoken]:
        streams = runtime.open(LED), runtime.open()
        return [spoken(heard) for heard in await asyncio.gather(*(events(stream, noisy) for stream in streams))]

    assert runner.run(both()) == [led, plain]


def test_the_terms_outlive_the_engine(runner: Runner, runtime: Runtime, noisy: Samples, led: Spoken) -> None:
    async def main() -> None:
        stream = runtime.open(LED)
        task = asyncio.create_task(events(stream, noisy))
        await until(lambda: stream.steps >= 30)
        kill(runtime)
        assert spoken(await task) == led

    runner.run(main())


def test_the_terms_move_to_another_server(
    runner: Runner, runtime: Runtime, spec: Any, noisy: Samples, led: Spoken
) -> None:
    async def main() -> Spoken:
        shelf = Shelf()
        here, there = (Runtime(spec, ANY_LOAD, Metrics(), vault=shelf) for _ in range(2))
        try:
            for server in (here, there):
                await server.start()
                await server.wait_ready()
            stream = here.open(LED)
            await stream.push(noisy[:66_000])
            await until(lambda: stream.steps >= 20)
            await stream.secure()
            await there.fetch(stream.id)
            again = there.resume(stream.id)
            stream.close()
            heard = asyncio.create_task(rest(again, 0))
            await again.push(noisy[66_000:])
            again.end()
            return await heard
        finally:
            for server in (here, there):
                await server.stop()

    assert runner.run(main()) == led


def test_a_stream_can_be_told_before_its_first_audio_and_not_later(
    runner: Runner, runtime: Runtime, noisy: Samples, plain: Spoken, led: Spoken
) -> None:
    async def main() -> list[Spoken]:
        first, second = runtime.open(), runtime.open(LED)
        await asyncio.sleep(0)
        first.expect(TERMS)
        second.expect(())
        assert runtime.slots_used == 2
        heard = [spoken(found) for found in await asyncio.gather(*(events(s, noisy) for s in (first, second)))]
        third = runtime.open()
        await third.push(np.zeros(10, np.float32))
        with pytest.raises(UnsupportedError, match="before the first audio only"):
            third.expect(TERMS)
        third.close()
        return heard

    assert runner.run(main()) == [led, plain]


def test_a_context_that_is_begun_afresh_has_the_same_terms(
    runner: Runner, spec: Any, digits: Samples, noisy: Samples
) -> None:
    """Behind speech without words, of which it is healed, the stream still hears what it was told to expect."""
    babble = np.tile(digits.reshape(-1, 12_000)[:, ::-1].ravel(), 2)

    async def main(options: StreamOptions) -> list[str]:
        async with running(spec, ANY_LOAD.model_copy(update={"heal_seconds": 3.0})) as runtime:
            heard = await events(runtime.open(options), np.concatenate([babble, noisy]))
            healed = next(place for place, event in enumerate(heard) if isinstance(event, Healed))
            return texts(spoken(heard[healed:]))

    strong = StreamOptions(key_terms=(KeyTerm("two", 5.0), KeyTerm("one", 5.0)))
    with_terms, without = runner.run(main(strong)), runner.run(main(StreamOptions()))
    assert with_terms != without


def test_a_term_that_the_model_cannot_write_is_refused_and_takes_no_slot(runner: Runner, runtime: Runtime) -> None:
    async def main() -> None:
        with pytest.raises(UnsupportedError, match="cannot write the key term 'Kyutai'; its words are zero, "):
            runtime.open(StreamOptions(key_terms=(KeyTerm("Kyutai"),)))
        assert runtime.slots_used == 0

    runner.run(main())
