"""Streams that move from one server's runtime to another's: no word is lost, none comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from vivavoce.core import Fault, StreamError, WordEnded
from vivavoce.runtime import EngineSpec, Metrics, Runtime, Stream, StreamOptions

from .driver import ANY_LOAD, Samples, Spoken, told

RESUMABLE = StreamOptions(resumable=True)
HALF = 66_000  # samples


class Shelf:
    """A vault within this process."""

    def __init__(self) -> None:
        self.kept = dict[str, bytes]()

    async def keep(self, id: str, luggage: bytes) -> None:
        self.kept[id] = luggage

    async def fetch(self, id: str) -> bytes | None:
        return self.kept.get(id)


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(scope="module")
def pair(runner: asyncio.Runner, spec: EngineSpec, shelf: Shelf) -> Iterator[tuple[Runtime, Runtime]]:
    async def start() -> tuple[Runtime, Runtime]:
        both = (Runtime(spec, ANY_LOAD, Metrics(), vault=shelf), Runtime(spec, ANY_LOAD, Metrics(), vault=shelf))
        for runtime in both:
            await runtime.start()
        for runtime in both:
            await runtime.wait_ready()
        return both

    both = runner.run(start())
    yield both
    for runtime in both:
        runner.run(runtime.stop())


async def rest(stream: Stream, after: int) -> Spoken:
    return [told(event.word) async for event in stream.events(after) if isinstance(event, WordEnded)]


async def until(stream: Stream, words: int) -> Spoken:
    """The first words, as a reader reads them."""
    heard: Spoken = []
    async for event in stream.events():
        if isinstance(event, WordEnded):
            heard.append(told(event.word))
            if len(heard) == words:
                break
    return heard


async def taken_up(runtime: Runtime, stream: Stream) -> Stream:
    """The stream, at a server that did not have it."""
    await runtime.fetch(stream.id)
    return runtime.resume(stream.id)


async def finish(stream: Stream, after: int, samples: Samples) -> Spoken:
    """What comes after an event's number, the last samples included."""
    await stream.push(samples)
    stream.end()
    return await rest(stream, after)


def test_a_stream_goes_on_at_another_server(
    runner: asyncio.Runner, pair: tuple[Runtime, Runtime], digits: Samples, said: Spoken
) -> None:
    async def move() -> Spoken:
        here, there = pair
        stream = here.open(RESUMABLE)
        await stream.push(digits[:HALF])
        heard = await until(stream, 2)
        position = stream.position
        stream.park()
        assert here.slots_used == 0, "whoever may come back anywhere takes no slot here"
        await asyncio.sleep(0)
        again = await taken_up(there, stream)
        assert again.received == HALF
        return heard + await finish(again, position, digits[HALF:])

    assert runner.run(move()) == said


def test_what_was_told_after_the_copy_is_not_told_again(
    runner: asyncio.Runner, pair: tuple[Runtime, Runtime], digits: Samples, said: Spoken
) -> None:
    """The first server dies some words after the newest copy, which knows nothing of them."""

    async def move() -> Spoken:
        here, there = pair
        stream = here.open(RESUMABLE)
        await stream.push(digits[: HALF // 2])
        await stream.secure()
        await stream.push(digits[HALF // 2 : HALF])
        heard = await until(stream, 3)
        position, copied = stream.position, HALF // 2
        again = await taken_up(there, stream)
        stream.close()
        assert again.received == copied
        return heard + await finish(again, position, digits[copied:])

    assert runner.run(move()) == said


def test_an_ended_streams_last_words_can_be_fetched_elsewhere(
    runner: asyncio.Runner, pair: tuple[Runtime, Runtime], digits: Samples, said: Spoken
) -> None:
    async def move() -> Spoken:
        here, there = pair
        stream = here.open(RESUMABLE)
        await stream.push(digits)
        stream.end()
        heard = await rest(stream, 0)
        stream.park()
        await asyncio.sleep(0)
        again = await taken_up(there, stream)
        assert there.slots_used == 0
        assert await rest(again, 0) == heard
        again.close()
        return heard

    assert runner.run(move()) == said


def test_a_stream_that_nobody_keeps_is_unknown(runner: asyncio.Runner, pair: tuple[Runtime, Runtime]) -> None:
    async def ask() -> None:
        await pair[1].fetch("nobody")
        with pytest.raises(StreamError) as refused:
            pair[1].resume("nobody")
        assert refused.value.fault is Fault.UNKNOWN_SESSION

    runner.run(ask())


def test_what_another_version_has_kept_is_refused_before_it_is_read(
    runner: asyncio.Runner, pair: tuple[Runtime, Runtime], digits: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller then begins a new session; with half-understood luggage it would lose words."""

    async def move() -> None:
        here, there = pair
        stream = here.open(RESUMABLE)
        await stream.push(digits[:HALF])
        with monkeypatch.context() as older:
            older.setattr("vivavoce.runtime.vault.VERSION", "0.0.9")
            await stream.secure()
        with pytest.raises(StreamError, match=r"kept by vivavoce 0\.0\.9, and this is vivavoce") as refused:
            await there.fetch(stream.id)
        assert refused.value.fault is Fault.UNKNOWN_SESSION
        assert there.slots_used == 0
        stream.close()

    runner.run(move())


def test_a_server_that_goes_sends_its_streams_away_and_keeps_them(
    runner: asyncio.Runner, pair: tuple[Runtime, Runtime], digits: Samples, said: Spoken
) -> None:
    """The last test: the first server takes no more streams."""

    async def move() -> Spoken:
        here, there = pair
        stream = here.open(RESUMABLE)
        await stream.push(digits[:HALF])
        heard = await until(stream, 2)
        position = stream.position
        await here.move_out()
        with pytest.raises(StreamError) as gone:
            await stream.push(digits[HALF:])
        assert gone.value.fault is Fault.GOING_AWAY
        with pytest.raises(StreamError):
            here.open(RESUMABLE)
        again = await taken_up(there, stream)
        return heard + await finish(again, position, digits[HALF:])

    assert runner.run(move()) == said
