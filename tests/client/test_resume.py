"""Connections are cut, streams go on: against the real server, through a proxy that resets connections."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from vivavoce import audio
from vivavoce.client import Connected, Disconnected, Gap, Patience, connect, hear
from vivavoce.client.events import ClientEvent
from vivavoce.core import SAMPLE_RATE, Event, Flushed, Token, Vad, WordEnded

from ..example import EXAMPLE, SAID
from .proxy import Cutter

ENDLESS = Patience(again=300.0)


def undisturbed(events: list[ClientEvent]) -> list[Event]:
    """What the server heard, without news of the connection."""
    return [event for event in events if not isinstance(event, Connected | Disconnected | Gap)]


async def listen(url: str, *, dialect: str = "stream", vad: bool = True) -> list[ClientEvent]:
    events: list[ClientEvent] = []
    async with connect(url, dialect=dialect, vad=vad, patience=ENDLESS) as stream:  # type: ignore[arg-type]
        await hear(stream, audio.blocks(EXAMPLE), told=events.append)
    return events


@pytest.mark.parametrize("seed", range(3))
def test_no_event_is_lost_or_told_twice_when_connections_are_cut_anywhere(server: str, seed: int) -> None:
    chance = random.Random(seed)
    budgets = [(chance.randrange(600, 500_000), chance.randrange(300, 9_000)) for _ in range(12)]
    cutter = Cutter(server, iter(budgets))

    async def run() -> tuple[list[ClientEvent], list[ClientEvent]]:
        async with cutter.running():
            return await listen(server), await listen(cutter.url)

    straight, cut = asyncio.run(run())
    assert undisturbed(cut) == undisturbed(straight)
    assert sum(isinstance(event, Connected) and event.resumed for event in cut) >= 3
    assert not any(isinstance(event, Gap) for event in cut)


def test_a_cut_while_nothing_is_said_and_a_flush_is_asked(server: str) -> None:
    """Each flush is answered once, with the words before it, however often the connection breaks around it."""
    (speech,) = [np.concatenate(list(audio.blocks(EXAMPLE)))]
    half = len(speech) // 2
    cutter = Cutter(server, iter([]))

    async def run() -> list[ClientEvent]:
        events: list[ClientEvent] = []
        async with cutter.running(), connect(cutter.url, patience=ENDLESS) as stream:

            async def read(until: object) -> None:
                async for event in stream:
                    events.append(event)
                    if isinstance(event, Flushed) and event.id == until:
                        return

            await stream.send(speech[:half])
            await stream.flush("first")
            cutter.cut()
            await read("first")
            cutter.cut()
            await stream.send(speech[half:])
            await stream.flush("second")
            await read("second")
            cutter.cut()
            await stream.end()
            await read(None)
        return events

    events = asyncio.run(run())
    assert [event.id for event in events if isinstance(event, Flushed)] == ["first", "second"]
    words = [event.word for event in events if isinstance(event, WordEnded)]
    assert len({word.start for word in words}) == len(words)
    said = "".join(event.text for event in events if isinstance(event, Token)).split()
    assert [word.text for word in words] == said
    assert said[:9] == SAID.split()[:9]
    assert said[-9:] == SAID.split()[-9:]


@pytest.mark.parametrize("dialect", ["moshi", "stream"])
def test_without_resume_a_stream_goes_on_and_says_what_may_be_missing(server: str, dialect: str) -> None:
    """moshi's dialect has none; the other may be told to do without."""
    cutter = Cutter(server, iter([]))
    how = {"dialect": dialect, "resume": False, "vad": True, "patience": ENDLESS}

    async def run() -> list[ClientEvent]:
        events: list[ClientEvent] = []
        async with cutter.running(), connect(cutter.url, **how) as stream:  # type: ignore[arg-type]
            blocks = list(audio.blocks(EXAMPLE))
            for block in blocks[:6]:
                await stream.send(block)
            async for event in stream:
                events.append(event)
                if isinstance(event, Vad) and event.time > 3:
                    break
            cutter.cut()
            await hear(stream, iter(blocks[6:]), told=events.append)
        return events

    events = asyncio.run(run())
    (gap,) = [event for event in events if isinstance(event, Gap)]
    assert 3 <= gap.start < gap.stop <= 8  # a second or two may have gone into the dead connection
    assert [event.resumed for event in events if isinstance(event, Connected)] == [False, False]
    words = [event.word for event in events if isinstance(event, WordEnded)]
    assert all(word.stop <= gap.start + 1 or word.start >= gap.stop - 0.1 for word in words)
    after = [word.text for word in words if word.start > gap.stop + 1]
    assert after == SAID.split()[-len(after) :]
    assert len(after) >= 4
    times = [event.time for event in events if isinstance(event, Vad)]
    assert times == sorted(times)


def test_a_session_that_the_server_forgot_goes_on_as_another_with_a_gap(server: str) -> None:
    cutter = Cutter(server, iter([]))

    async def run() -> list[ClientEvent]:
        events: list[ClientEvent] = []
        async with cutter.running(), connect(cutter.url, patience=ENDLESS) as stream:
            await stream.send(np.zeros(4 * SAMPLE_RATE, np.float32))
            assert stream.session
            async with connect(server) as other:  # its session ends with it
                forgotten = other.session
            stream._talk.session = forgotten
            cutter.cut()
            await hear(stream, audio.blocks(EXAMPLE), told=events.append)
        return events

    events = asyncio.run(run())
    assert any(isinstance(event, Gap) for event in events) or any(
        isinstance(event, Connected) and not event.resumed for event in events
    )
    words = [event.word for event in events if isinstance(event, WordEnded)]
    assert " ".join(word.text for word in words) == SAID
    assert words[0].start == pytest.approx(4.85, abs=0.3)  # on the caller's clock, not the second session's


def test_a_server_that_stays_away_ends_the_stream_after_the_patience(server: str) -> None:
    cutter = Cutter(server, iter([]))

    async def run() -> Exception:
        async with cutter.running():
            stream = await connect(cutter.url, patience=Patience(again=0.5)).__aenter__()
        try:  # the proxy has gone
            async for _ in stream:
                pass
        except Exception as error:
            return error
        finally:
            await stream.close()
        raise AssertionError("the stream ended without an error")

    error = asyncio.run(run())
    assert "connection refused: nothing listens there" in str(error)
    assert cutter.url in str(error)
