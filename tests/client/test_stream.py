"""What a caller of a stream may rely on: against the real server, and against ones that misbehave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from vivavoce import audio
from vivavoce.client import (
    AddressError,
    ConnectionFailedError,
    Dropped,
    Heard,
    Patience,
    SttStream,
    connect,
    hear,
    transcribe,
)
from vivavoce.client.recording import Pace
from vivavoce.core import (
    SAMPLE_RATE,
    AudioNotFoundError,
    Flushed,
    InvalidAudioError,
    Token,
    TurnEnded,
    TurnResumed,
    TurnStarted,
    Vad,
    VivavoceError,
    WordEnded,
    WordStarted,
)

from ..example import EXAMPLE, SAID
from .proxy import scripted

READY = '{"type":"ready","session":"s","model":"m","sample_rate":24000,"samples":0}'


@pytest.mark.parametrize("dialect", ["stream", "moshi"])
def test_a_recording_becomes_words(server: str, dialect: str) -> None:
    transcript = transcribe(server, EXAMPLE, dialect=dialect)
    assert transcript.text == SAID
    assert transcript.duration == pytest.approx(11.47)
    assert len(transcript.turns) >= 1
    assert all(0 <= word.start < word.stop <= transcript.duration for word in transcript)


def test_both_dialects_tell_the_same_events(server: str) -> None:
    """Turns too, which in moshi's dialect are found here: by the head that the server's answer names."""

    async def listen(dialect: str) -> list[object]:
        told: list[object] = []
        async with connect(server, dialect=dialect, vad=True) as stream:  # type: ignore[arg-type]
            await hear(stream, audio.blocks(EXAMPLE), told=told.append)
        return told

    told = {dialect: asyncio.run(listen(dialect)) for dialect in ("stream", "moshi")}
    for kind in (Token, WordStarted, WordEnded, TurnStarted, TurnEnded):
        stream, moshi = ([event for event in told[name] if isinstance(event, kind)] for name in ("stream", "moshi"))
        assert list(map(_without_confidence, stream)) == list(map(_without_confidence, moshi))
        assert stream
    vads = [[event for event in told[name] if isinstance(event, Vad)] for name in ("stream", "moshi")]
    whole = 143  # frames of the recording; what follows is the server's silence in one, the client's in the other
    for ours, theirs in zip(*(vad[:whole] for vad in vads), strict=True):
        assert theirs.time == pytest.approx(ours.time)
        assert theirs.pauses == pytest.approx(ours.pauses, abs=1e-4)


def _without_confidence(event: object) -> object:
    match event:
        case WordStarted(text, start, _):
            return text, start
        case WordEnded(word):
            return word.text, word.start, word.stop
        case Token(text, start):
            return text, round(start, 2)
        case TurnStarted(time) | TurnEnded(time) | TurnResumed(time):
            return round(time, 2)
    return event


def test_chunks_of_any_length_give_the_same(server: str) -> None:
    chance = np.random.default_rng(1)
    samples = np.concatenate(list(audio.blocks(EXAMPLE)))
    cuts = np.cumsum(chance.integers(1, 9_000, 400))

    async def run() -> Heard:
        async with connect(server) as stream:
            return await hear(stream, iter(np.split(samples, cuts[cuts < len(samples)])))

    assert asyncio.run(run()).transcript(0).text == SAID


def test_a_flush_brings_every_word_so_far_and_the_stream_goes_on(server: str) -> None:
    (speech,) = [np.concatenate(list(audio.blocks(EXAMPLE)))]

    async def run() -> list[str]:
        said = []
        async with connect(server) as stream:
            await stream.send(speech[: 6 * SAMPLE_RATE])
            await stream.flush("half")
            async for event in stream:
                if isinstance(event, WordEnded):
                    said.append(event.word.text)
                if isinstance(event, Flushed):
                    assert event.id == "half"
                    break
            await stream.send(speech[6 * SAMPLE_RATE :])
            await stream.end()
            said += ["|", *[event.word.text async for event in stream if isinstance(event, WordEnded)]]
        return said

    said = asyncio.run(run())
    assert said[: said.index("|")][:11] == SAID.split()[:11]
    assert said[-8:] == SAID.split()[-8:]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(3), "got float64 [3]"),
        (np.zeros((3, 2), np.float32), "got float32 [3, 2]"),
        ([0.0], "got list"),
        (np.array([0, np.nan], np.float32), "sample 1 of 2 is nan"),
        (np.array([-np.inf], np.float32), "sample 0 of 1 is -inf"),
    ],
)
def test_what_is_no_audio_is_refused_and_changes_nothing(server: str, samples: np.ndarray, message: str) -> None:
    async def run() -> None:
        async with connect(server) as stream:
            with pytest.raises(InvalidAudioError) as caught:
                await stream.send(samples)
            assert message in str(caught.value)
            assert stream.duration == 0

    asyncio.run(run())


def test_nothing_is_taken_after_the_end(server: str) -> None:
    async def run() -> None:
        async with connect(server) as stream:
            await stream.end()
            await stream.end()
            with pytest.raises(VivavoceError, match="no audio is taken"):
                await stream.send(np.zeros(10, np.float32))
            with pytest.raises(VivavoceError, match="no flush is taken"):
                await stream.flush()
            _ = [event async for event in stream]
            with pytest.raises(StopAsyncIteration):
                await anext(stream)

    asyncio.run(run())


def test_what_does_not_answer_is_one_line() -> None:
    with pytest.raises(ConnectionFailedError, match=r"ws://127\.0\.0\.1:9/v1/stream: connection refused"):
        transcribe("127.0.0.1:9", EXAMPLE)
    with pytest.raises(AddressError):
        connect("gopher://host")


def test_a_missing_recording_is_said_though_a_server_listens(server: str, tmp_path: Path) -> None:
    with pytest.raises(AudioNotFoundError):
        transcribe(server, tmp_path / "missing.wav")


def test_an_unknown_wish_is_refused_by_name(server: str) -> None:
    with pytest.raises(VivavoceError, match="vad_head"):
        transcribe(server, EXAMPLE, dialect="stream", vad_head=99)


async def deaf(connection: ServerConnection) -> None:
    """Takes nothing, acknowledges nothing."""
    await connection.send(READY)
    await connection.wait_closed()


def pushed(stream: SttStream, seconds: int) -> asyncio.Task[None]:
    return asyncio.create_task(stream.send(np.zeros(seconds * SAMPLE_RATE, np.float32)))


def test_send_waits_for_a_server_that_does_not_take_what_is_sent() -> None:
    async def run() -> float:
        async with scripted(deaf) as url, connect(f"{url}/v1/stream", patience=Patience(keep=5)) as stream:
            sending = pushed(stream, 1000)
            done, _ = await asyncio.wait([sending], timeout=1)
            assert not done
            sending.cancel()
            return stream.duration

    assert asyncio.run(run()) <= 6


def test_an_acknowledgement_lets_it_go_on() -> None:
    async def attentive(connection: ServerConnection) -> None:
        await connection.send(READY)
        taken = 0
        async for message in connection:
            taken += len(message) // 4
            await connection.send(f'{{"type":"ack","samples":{taken}}}')

    async def run() -> float:
        async with scripted(attentive) as url, connect(f"{url}/v1/stream", patience=Patience(keep=5)) as stream:
            await stream.send(np.zeros(30 * SAMPLE_RATE, np.float32))
            return stream.duration

    assert asyncio.run(run()) == 30


def test_a_server_that_tells_no_session_need_not_acknowledge() -> None:
    async def plain(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    async def run() -> float:
        async with scripted(plain) as url, connect(f"{url}/v1/stream", patience=Patience(keep=5)) as stream:
            await stream.send(np.zeros(30 * SAMPLE_RATE, np.float32))
            return stream.duration

    assert asyncio.run(run()) == 30


def test_a_live_stream_drops_the_oldest_and_says_so() -> None:
    async def run() -> list[object]:
        async with scripted(deaf) as url:
            stream = connect(f"{url}/v1/stream", live=True, patience=Patience(keep=2))
            await stream.__aenter__()
        try:  # no server any more
            while await stream._inbox.next() and stream._talk.backlog.held_seconds < 1:
                await stream.send(np.zeros(SAMPLE_RATE, np.float32))
                break
            for _ in range(5):
                await stream.send(np.zeros(SAMPLE_RATE, np.float32))
                await asyncio.sleep(0)
            return list(stream._inbox._waiting)
        finally:
            await stream.close()

    dropped = [event for event in asyncio.run(run()) if isinstance(event, Dropped)]
    assert sum(event.seconds for event in dropped) >= 3
    assert [event.start for event in dropped] == sorted(event.start for event in dropped)


def test_events_that_nobody_reads_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivavoce.client.stream.UNREAD", 10)
    sent = 0

    async def chatty(connection: ServerConnection) -> None:
        nonlocal sent
        await connection.send(READY)
        while True:
            await connection.send('{"type":"vad","time":0.08,"pauses":[' + "0.1," * 2000 + "0.1]}")
            sent += 1

    async def run() -> int:
        async with scripted(chatty) as url, connect(f"{url}/v1/stream") as stream:
            before = -1
            while sent != before:  # until the sockets' buffers are full
                before = sent
                await asyncio.sleep(0.3)
            assert len(stream._inbox._waiting) == 10
            told = [await anext(stream) for _ in range(50)]
            return len(told)

    assert asyncio.run(run()) == 50


def test_pacing_follows_a_schedule() -> None:
    """Being late once is caught up; ten frames at 100 times real time take no ten waits of a rounded-up timer."""

    async def run() -> float:
        pace, stop, clock = Pace(100.0), asyncio.Event(), asyncio.get_running_loop().time
        begun = clock()
        for _ in range(50):
            await pace.wait(0.08, stop)
        assert pace._due is not None
        return pace._due - begun

    assert asyncio.run(run()) >= 0.04
