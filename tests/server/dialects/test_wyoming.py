"""Wyoming as its own package speaks it, over a TCP port beside HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from vivavoce import audio

from ...example import EXAMPLE, SAID
from ..process import Server
from .dialogue import KEY, PATIENCE, Samples

FLAGS = (
    "--slots", "2", "--tts-model", "tts-digits-en", "--tts-slots", "2", "--wyoming", "tcp://127.0.0.1:0",
    "--api-keys", KEY, "--threads", "1", "--load-limit", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(*FLAGS) as server:
        server.wait_ready()
        yield server


def port_of(server: Server) -> int:
    found = re.search(r"Wyoming is spoken at 127\.0\.0\.1 port (\d+)", server.text)
    assert found, server.text
    return int(found[1])


class Talk:
    """One connection of the package's client."""

    def __init__(self, client: AsyncTcpClient) -> None:
        self.client = client
        self.heard: list[Event] = []

    async def say(self, *messages: Eventable) -> None:
        for message in messages:
            await self.client.write_event(message.event())

    async def until(self, kind: str) -> list[Event]:
        """Events up to and with the first of that kind."""
        heard = []
        while not heard or heard[-1].type != kind:
            event = await asyncio.wait_for(self.client.read_event(), PATIENCE)
            assert event, f"the connection ended after {[event.type for event in heard]}"
            heard.append(event)
        return heard

    async def audio(self, samples: Samples, rate: int = 16_000) -> None:
        data = np.round(soxr.resample(samples, 24_000, rate) * 32_767).astype("<i2").tobytes()
        await self.say(AudioStart(rate=rate, width=2, channels=1))
        for start in range(0, len(data), 2_048):
            await self.say(AudioChunk(rate=rate, width=2, channels=1, audio=data[start : start + 2_048]))


def talk(server: Server, script: Any) -> Any:
    async def run() -> Any:
        async with AsyncTcpClient("127.0.0.1", port_of(server)) as client:
            return await script(Talk(client))

    return asyncio.run(run())


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def test_it_describes_its_models_and_voices(server: Server) -> None:
    async def script(peer: Talk) -> Info:
        await peer.say(Describe(), Ping(text="still there?"))
        info = Info.from_event((await peer.until("info"))[-1])
        assert Pong.from_event((await peer.until("pong"))[-1]).text == "still there?"
        return info

    info = talk(server, script)
    assert [(model.name, model.languages, model.installed) for model in info.asr[0].models] == [
        ("stt-digits-en", ["en"], True)
    ]
    assert info.asr[0].supports_transcript_streaming
    assert info.tts[0].supports_synthesize_streaming
    assert {"heart", "michael"} <= {voice.name for voice in info.tts[0].voices}
    assert info.tts[0].voices[0].languages == ["en"]
    assert not info.wake and not info.intent


def test_it_hears_as_home_assistant_speaks_twice_on_one_connection(server: Server, digits: Samples) -> None:
    async def script(peer: Talk) -> list[list[Event]]:
        found = []
        for _ in range(2):
            await peer.say(Transcribe(language="en"))
            await peer.audio(digits)
            await peer.say(AudioStop())
            found.append(await peer.until("transcript-stop"))
        return found

    for heard in talk(server, script):
        chunks = [event.data["text"] for event in heard if event.type == "transcript-chunk"]
        transcript = next(event for event in heard if event.type == "transcript")
        assert Transcript.from_event(transcript).text == "".join(chunks) == SAID
        assert transcript.data["language"] == "en"
        assert types(heard)[0] == "transcript-start"
        assert types(heard)[-2:] == ["transcript", "transcript-stop"]


# --- the golden transcript: an event a line; `python -m tests.server.dialects.test_wyoming` writes it anew ---

GOLDEN = Path(__file__).parent / "golden" / "wyoming.jsonl"


async def golden(peer: Talk) -> list[dict[str, Any]]:
    """Both directions; each request is heard to its end before the next one is sent."""
    example = audio.load(EXAMPLE)[: 27 * 1920]
    data = np.round(soxr.resample(example, 24_000, 16_000) * 32_767).astype("<i2").tobytes()
    form = {"rate": 16_000, "width": 2, "channels": 1}
    parts = [AudioChunk(**form, audio=part) for part in (data[:9_999], data[9_999:])]
    chunks = [SynthesizeChunk(text=part) for part in ("fo", "ur o", "ne")]
    requests: list[tuple[list[Eventable], str]] = [
        ([Describe()], "info"),
        ([Ping(text="there?")], "pong"),
        ([Transcribe(language="en"), AudioStart(**form), *parts, AudioStop()], "transcript-stop"),
        ([AudioStart(**form), AudioStop()], "transcript-stop"),
        ([Synthesize(text="four")], "audio-stop"),
        ([SynthesizeStart(), *chunks, Synthesize(text="four one"), SynthesizeStop()], "synthesize-stopped"),
        ([Transcribe(transcript_terms=["Kyutai"]), AudioStart(**form)], "error"),
    ]
    lines = []
    for events, end in requests:
        await peer.say(*events)
        lines += [{"from": "client", **told(message.event())} for message in events]
        heard = [told(event) for event in await peer.until(end)]
        lines += [{"from": "server", **first} for first, _ in groupby(heard)]
    return lines


def told(event: Event) -> dict[str, Any]:
    """Of samples only how many bytes; of audio that is spoken, whose length is chosen, not even when."""
    data = json.loads(re.sub(r'("version": )"[^"]*"', r'\1"?"', json.dumps(event.data)))
    if event.type in ("audio-chunk", "audio-stop") and "timestamp" in data:
        data["timestamp"] = "?"
    return {"type": event.type, "data": data, "bytes": len(event.payload or b"")}


def test_the_server_answers_as_it_did(server: Server) -> None:
    assert talk(server, golden) == [json.loads(line) for line in GOLDEN.read_text().splitlines()]


def test_text_comes_while_audio_does(server: Server, digits: Samples) -> None:
    async def script(peer: Talk) -> None:
        await peer.audio(digits)
        assert "transcript" not in types(await peer.until("transcript-chunk"))

    talk(server, script)


def heard_in(server: Server, samples: Samples) -> str:
    async def script(peer: Talk) -> str:
        await peer.audio(samples, rate=24_000)
        await peer.say(AudioStop())
        return str((await peer.until("transcript"))[-1].data["text"])

    return talk(server, script)


def samples_of(events: list[Event]) -> Samples:
    chunks = [AudioChunk.from_event(event) for event in events if event.type == "audio-chunk"]
    assert {(chunk.rate, chunk.width, chunk.channels) for chunk in chunks} == {(24_000, 2, 1)}
    assert [chunk.timestamp for chunk in chunks] == [80 * number for number in range(len(chunks))]
    return np.frombuffer(b"".join(chunk.audio for chunk in chunks), "<i2") / np.float32(32_768)


def test_it_speaks(server: Server) -> None:
    async def script(peer: Talk) -> list[Event]:
        await peer.say(Synthesize(text="four one five", voice=SynthesizeVoice(name="heart")))
        return await peer.until("audio-stop")

    heard = talk(server, script)
    assert types(heard)[0] == "audio-start"
    assert heard_in(server, samples_of(heard)) == "four one five"


def test_it_speaks_text_that_comes_in_chunks_cut_anywhere(server: Server) -> None:
    async def script(peer: Talk) -> list[Event]:
        await peer.say(SynthesizeStart(voice=SynthesizeVoice(name="heart")))
        await peer.say(*(SynthesizeChunk(text=part) for part in ("fo", "ur o", "ne f", "ive")))
        await peer.say(Synthesize(text="four one five"), SynthesizeStop())
        return await peer.until("synthesize-stopped")

    heard = talk(server, script)
    assert types(heard)[-2:] == ["audio-stop", "synthesize-stopped"]
    assert heard_in(server, samples_of(heard)) == "four one five"


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([Transcribe(language="fr"), AudioStart(rate=16_000, width=2, channels=1)], "it knows en"),
        ([Transcribe(name="whisper"), AudioStart(rate=16_000, width=2, channels=1)], "whisper"),
        ([Transcribe(transcript_terms=["Kyutai"]), AudioStart(rate=16_000, width=2, channels=1)], "transcript_terms"),
        ([AudioStart(rate=16_000, width=4, channels=2)], "2 channels"),
        ([Synthesize(text="four", voice=SynthesizeVoice(name="nobody"))], "nobody"),
        ([Synthesize(text="xylophone")], "xylophone"),
        ([AudioStop()], "audio-stop"),
    ],
)
def test_what_cannot_be_done_is_an_error_and_the_end(server: Server, events: list[Eventable], why: str) -> None:
    async def script(peer: Talk) -> Error:
        await peer.say(*events)
        error = Error.from_event((await peer.until("error"))[-1])
        assert await asyncio.wait_for(peer.client.read_event(), PATIENCE) is None
        return error

    error = talk(server, script)
    assert why in error.text
    assert error.code


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b'{"type":1}\n',
        b'{"type":"ping","data":{"text":{}}}\n',
        b'{"type":"transcribe","data":{"name":[]}}\n',
        b'{"type":"ping","payload_length":99999999999}\n',
        b"x" * 200_000,
    ],
)
def test_what_is_no_event_ends_the_connection_and_costs_nobody_else_anything(server: Server, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), PATIENCE) as raw:
        raw.sendall(line)
        answer = b""
        try:
            while data := raw.recv(65_536):
                answer += data
        except ConnectionResetError:  # what it had not read
            pass
        assert b'"error"' in answer
    test_it_speaks(server)


def test_a_killed_engine_costs_no_word(server: Server, digits: Samples) -> None:
    async def script(peer: Talk) -> str:
        half = len(digits) // 2
        await peer.audio(digits[:half], rate=24_000)
        await peer.until("transcript-chunk")
        kill(server)
        data = np.round(digits[half:] * 32_767).astype("<i2").tobytes()
        await peer.say(AudioChunk(rate=24_000, width=2, channels=1, audio=data), AudioStop())
        return str((await peer.until("transcript"))[-1].data["text"])

    assert talk(server, script) == SAID


def kill(server: Server) -> None:
    os.kill(server.get("/api/status").json()["engines"][0]["pid"], signal.SIGKILL)


def test_a_client_in_the_midst_of_it_is_served_to_the_end_when_the_server_ends(server: Server) -> None:
    """The last test."""

    async def script(peer: Talk) -> list[Event]:
        await peer.say(Synthesize(text="four one five two two nine", voice=SynthesizeVoice(name="heart")))
        heard = await peer.until("audio-chunk")
        server.signal(signal.SIGTERM)
        return heard + await peer.until("audio-stop")

    assert len(samples_of(talk(server, script))) > 24_000
    assert server.wait() == 0


@pytest.mark.parametrize("value", ["10300", "tcp://here:10300", "tcp://127.0.0.1:99999"])
def test_an_address_that_is_none_is_told(value: str) -> None:
    with Server("--wyoming", value) as server:
        assert server.wait() == 2
        assert "wyoming" in server.text


if __name__ == "__main__":
    with Server(*FLAGS) as started:
        started.wait_ready()
        GOLDEN.write_text("".join(f"{json.dumps(line)}\n" for line in talk(started, golden)))
