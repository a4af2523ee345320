"""What a caller of text to speech may rely on: against the real server with a small model, and ones that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import msgpack
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from vivavoce import Synthesizer, Utterance
from vivavoce.checkpoints.voice_file import read_voice
from vivavoce.client import (
    AddressError,
    ConnectionFailedError,
    Patience,
    connect_tts,
    say,
    speak,
    spoken,
)
from vivavoce.client.pieces import LONGEST, Pieces
from vivavoce.client.wire_speech import decode, flush, speech_target, text, voice
from vivavoce.core import Cleared, Fault, Flush, Flushed, Speech, SpeechEvent, StreamError, VivavoceError, WordSpoken
from vivavoce.server.dialects import speech_codec
from vivavoce.session.utterance import utterance

from ..serving import serving
from ..speech_folder import SUFFIX, VOICES
from ..speech_folder import speaking_folder as speaking_folder
from .proxy import scripted

TEXT = "viva voce by the living voice"
KEY = "a-key"
SLOTS = 2
NOW = Patience(first=0.0)


@pytest.fixture(scope="module")
def url(speaking_folder: Path) -> Iterator[str]:
    flags = ("--model", "none", "--tts-model", str(speaking_folder), "--tts-slots", str(SLOTS), "--api-keys", KEY)
    with serving(*flags, "--threads", "1", "--load-limit", "0") as url:
        yield url


@pytest.fixture(scope="module")
def here(speaking_folder: Path) -> Utterance:
    """The text, spoken in this process."""
    return Synthesizer.load(speaking_folder, device="cpu", batch_size=1).say(TEXT)


def same(one: Utterance, other: Utterance) -> bool:
    """But for rounding; and the server's batch may have had others."""
    if len(one.samples) != len(other.samples) or [w.text for w in one] != [w.text for w in other]:
        return False
    return np.allclose(one.samples, other.samples, atol=1e-3)


async def slowly(words: list[str]) -> AsyncIterator[str]:
    for word in words:
        await asyncio.sleep(0.01)
        yield word


async def many(url: str, *texts: str) -> list[Utterance]:
    async def one(words: str) -> Utterance:
        async with connect_tts(url, key=KEY) as stream:
            return await speak(stream, slowly([f"{word} " for word in words.split()]))

    return await asyncio.gather(*map(one, texts))


def test_a_text_is_spoken_by_a_server_as_in_this_process(url: str, here: Utterance) -> None:
    said = say(url, TEXT, key=KEY)
    assert same(said, here)
    assert [word.start for word in said] == pytest.approx([word.start for word in here])
    assert [word.stop for word in said] == pytest.approx([word.stop for word in here])
    assert len(said.samples) == len(here.samples)


def test_text_that_comes_slowly_in_several_streams_is_the_same(url: str, here: Utterance) -> None:
    first, second = asyncio.run(many(url, TEXT, TEXT))
    assert same(first, here)
    assert same(second, here)


def test_a_word_may_be_cut_anywhere(url: str, here: Utterance) -> None:
    async def letters() -> Utterance:
        async with connect_tts(url, key=KEY) as stream:
            return await speak(stream, list(TEXT))

    assert same(asyncio.run(letters()), here)


def test_a_voice_a_seed_and_a_temperature_reach_the_model(url: str, here: Utterance, speaking_folder: Path) -> None:
    sad = say(url, TEXT, key=KEY, voice=VOICES[2])
    assert not same(sad, here)
    assert not same(say(url, TEXT, key=KEY, seed=7), here)
    embedding = read_voice(speaking_folder / "voices" / f"{VOICES[2]}{SUFFIX}", 5, 12)
    assert same(say(url, TEXT, key=KEY, voice=embedding), sad)
    greedy = [say(url, TEXT, key=KEY, temperature=0.0, seed=seed) for seed in (1, 2)]
    assert same(*greedy)


def test_a_flush_is_answered_when_all_was_said_and_more_may_follow(url: str, here: Utterance) -> None:
    async def flushed() -> list[SpeechEvent]:
        async with connect_tts(url, key=KEY) as stream:
            return [event async for event in spoken(stream, [TEXT, Flush("turn"), "by"])]

    events = asyncio.run(flushed())
    at = events.index(Flushed("turn"))
    assert same(utterance(events[:at]), here)
    assert [event.text for event in events[at:] if isinstance(event, WordSpoken)] == ["by"]


def test_a_stream_that_has_ended_gives_no_sign_of_life_however_long_it_is_spoken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vivavoce.client.speech.KEEPALIVE", 0.05)
    heard: list[object] = []

    async def talk(connection: ServerConnection) -> None:
        await connection.send(msgpack.packb({"type": "Ready"}))
        async for message in connection:
            heard.append(msgpack.unpackb(message))
            if heard[-1] == {"type": "Eos"}:
                break
        with suppress(TimeoutError):
            heard.append(await asyncio.wait_for(connection.recv(), 0.3))
        await connection.close(1000)

    async def run() -> None:
        async with scripted(talk) as url, connect_tts(url) as stream:
            await stream.say("a b")
            await asyncio.sleep(0.12)
            await stream.end()
            assert [event async for event in stream] == []

    asyncio.run(run())
    assert {"type": "Text", "text": ""} in heard
    assert heard[-1] == {"type": "Eos"}


def test_clear_drops_what_was_not_read_and_speaks_what_comes_next(url: str) -> None:
    async def interrupted() -> list[SpeechEvent]:
        events: list[SpeechEvent] = []
        async with connect_tts(url, key=KEY) as stream:
            await stream.say(f"{TEXT} " * 20)
            while not (events and isinstance(events[-1], Speech)):
                events.append(await anext(stream))
            await asyncio.sleep(0.2)
            await stream.clear()
            await stream.say("by the")
            await stream.end()
            return events + [event async for event in stream]

    events = asyncio.run(interrupted())
    (at,) = (number for number, event in enumerate(events) if isinstance(event, Cleared))
    before, after = events[:at], events[at + 1 :]
    assert [event.text for event in after if isinstance(event, WordSpoken)] == ["by", "the"]
    assert events[at] == Cleared(pytest.approx(0.08 * sum(isinstance(event, Speech) for event in before)))  # type: ignore[arg-type]
    spoken_after = 0.08 * sum(isinstance(event, Speech) for event in after)
    words = [event for event in after if isinstance(event, WordSpoken)]
    assert events[at].time <= words[0].start < words[-1].stop <= events[at].time + spoken_after  # type: ignore[union-attr]


def test_no_text_is_no_audio_and_leaving_frees_the_slot(url: str) -> None:
    assert len(say(url, " ", key=KEY).samples) == 0

    async def leave() -> None:
        for _ in range(3 * SLOTS):
            async with connect_tts(url, key=KEY, patience=Patience(first=30)) as stream:
                await stream.say(f"{TEXT} " * 10)
                await anext(stream)

    asyncio.run(leave())


def test_what_the_texts_raise_the_reader_gets(url: str) -> None:
    def broken() -> Iterator[str]:
        yield "viva "
        raise ValueError("half a letter")

    async def run() -> None:
        async with connect_tts(url, key=KEY) as stream:
            async for _ in spoken(stream, broken()):
                pass

    with pytest.raises(ValueError, match="half a letter"):
        asyncio.run(run())


def test_nothing_is_taken_after_the_end(url: str) -> None:
    async def run() -> None:
        async with connect_tts(url, key=KEY) as stream:
            await stream.end()
            await stream.end()
            with pytest.raises(VivavoceError, match="nothing is taken after its end"):
                await stream.say("viva")

    asyncio.run(run())


def test_refusals_have_their_fault(url: str) -> None:
    with pytest.raises(StreamError, match="nobody") as refused:
        say(url, TEXT, key=KEY, voice="nobody")
    assert (refused.value.fault.status, refused.value.fault.retry) == (400, False)
    with pytest.raises(StreamError) as refused:
        say(url, TEXT, key="wrong")
    assert refused.value.fault is Fault.UNAUTHENTICATED
    with pytest.raises(StreamError, match=r"embeddings|frames") as refused:
        say(url, TEXT, key=KEY, voice=np.zeros((5, 7), np.float32))

    async def full() -> None:
        streams = [connect_tts(url, key=KEY, patience=Patience(first=30)) for _ in range(SLOTS)]
        for stream in streams:
            await stream.__aenter__()
        try:
            with pytest.raises(StreamError) as refused:
                async with connect_tts(url, key=KEY, patience=NOW):
                    pass
            assert refused.value.fault is Fault.CAPACITY
        finally:
            for stream in streams:
                await stream.close()

    asyncio.run(full())
    with pytest.raises(ConnectionFailedError, match="connection refused: nothing listens there"):
        say("ws://127.0.0.1:9", TEXT)
    with pytest.raises(AddressError):
        connect_tts("ftp://host")


async def talk(socket: ServerConnection, *messages: object, close: int | None = None, reason: str = "") -> None:
    for message in messages:
        await socket.send(msgpack.packb(message))
    await socket.close(close or 1000, reason)


@pytest.mark.parametrize(
    ("messages", "close", "error", "match"),
    [
        ([{"type": "Ready"}], 1011, StreamError, "the server failed"),
        ([{"type": "Ready"}, {"type": "Error", "message": "it broke"}], 1011, StreamError, "it broke"),
        ([{"type": "Error", "message": "no free channels"}], 1000, StreamError, "no free channels"),
        ([{"type": "Ready"}], 1000, StreamError, "closed the connection before everything was said"),
        ([{"type": "Ready"}, ["what"]], 1000, VivavoceError, "no message of moshi-server"),
    ],
)
def test_a_stream_that_ends_early_says_why(
    messages: list[object], close: int, error: type[Exception], match: str
) -> None:
    async def serve(socket: ServerConnection) -> None:
        await talk(socket, *messages, close=close)

    async def run() -> None:
        async with scripted(serve) as url, connect_tts(url, patience=NOW) as stream:
            async for _ in stream:
                pass

    with pytest.raises(error, match=match):
        asyncio.run(run())


def test_of_moshi_servers_messages_none_is_lost() -> None:
    async def serve(socket: ServerConnection) -> None:
        await socket.send(msgpack.packb({"type": "Ready"}))
        got = [msgpack.unpackb(await socket.recv()) for _ in range(3)]
        assert got == [{"type": "Text", "text": "viva "}, {"type": "Text", "text": "voce"}, {"type": "Eos"}]
        for message in (
            {"type": "Text", "text": "viva", "start_s": 0.16, "stop_s": 0.48},
            {"type": "Audio", "pcm": [0.5] * 1920},
            {"type": "Later", "field": 1},
        ):
            await socket.send(msgpack.packb(message, use_single_float=True))
        socket.transport.write(b"\x88\x00")  # a close frame without a code

    async def run() -> Utterance:
        async with scripted(serve) as url, connect_tts(url) as stream:
            return await speak(stream, ["viv", "a vo", "ce"])

    said = asyncio.run(run())
    assert said.words == (WordSpoken("viva", pytest.approx(0.16), pytest.approx(0.48)),)  # type: ignore[arg-type]
    np.testing.assert_array_equal(said.samples, np.full(1920, 0.5, np.float32))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("host:8080", "ws://host:8080/api/tts_streaming"),
        ("https://host/", "wss://host/api/tts_streaming"),
        ("ws://host/v1/stream?token=t", "ws://host/api/tts_streaming?token=t"),
        ("wss://host/proxy/api/asr-streaming", "wss://host/proxy/api/tts_streaming"),
        ("ws://host/api/tts-streaming", "ws://host/api/tts-streaming"),
    ],
)
def test_a_url_leads_to_where_a_server_speaks(url: str, expected: str) -> None:
    assert speech_target(url).url == expected


def pieces(*parts: str) -> list[str]:
    cutter = Pieces()
    return [piece for part in parts for piece in cutter.push(part)] + list(cutter.rest())


def test_messages_end_where_words_do() -> None:
    assert pieces("vi", "va vo", "ce") == ["viva ", "voce"]
    assert pieces("viva voce ") == ["viva voce "]
    assert pieces(" ", "\n") == []
    assert pieces("one <break ti", 'me="1s" /> two') == ["one ", '<break time="1s" /> ', "two"]
    assert pieces("a < b") == ["a < ", "b"]
    long = pieces("viva " * 1_000, "x" * 5_000)
    assert all(len(piece) <= LONGEST for piece in long)
    assert "".join(long) == "viva " * 1_000 + "x" * 5_000
    assert max(map(len, pieces("<break " + "y" * 5_000))) <= LONGEST


def test_the_server_reads_what_the_client_writes() -> None:
    assert speech_codec.decode(text("naïve ")) == speech_codec.Text("naïve ")
    embedding = np.arange(6, dtype=np.float32).reshape(3, 2)
    heard = speech_codec.decode(voice(embedding))
    assert isinstance(heard, speech_codec.Voice)
    np.testing.assert_array_equal(heard.embedding, embedding)
    said = decode(speech_codec.audio(np.full(1920, 0.25, np.float32)))
    assert isinstance(said, Speech)
    assert (said.samples.dtype, said.samples.shape) == (np.float32, (1920,))
    assert decode(speech_codec.word("viva", 0.5, 1.0)) == WordSpoken("viva", 0.5, 1.0)
    assert decode(speech_codec.clear()) == Cleared(0.0)
    assert decode(speech_codec.flush(3)) == Flushed(3)
    assert speech_codec.decode(flush(3)) == speech_codec.Flush(3)
