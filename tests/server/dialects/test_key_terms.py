"""Key terms in every protocol that has a word for them, each spoken by its own client: one term decides a doubt."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import soundfile
from openai import OpenAI
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioStop

from vivavoce.client import connect, hear
from vivavoce.core import UnsupportedError

from ...example import HEARD_WITH_TERM, MISHEARD, TERM, doubtful
from ..process import Server
from .dialogue import KEY, PATIENCE, moshi, stream, words
from .test_deepgram import client_of, listen, pcm
from .test_openai_realtime import session
from .test_wyoming import Talk, talk

RATE = 24_000
BOTH = pytest.mark.parametrize(("terms", "heard"), [([], MISHEARD), ([TERM], HEARD_WITH_TERM)])
SAMPLES = doubtful()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the packages', of this version of `websockets`


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    flags = ("--slots", "2", "--wyoming", "tcp://127.0.0.1:0", "--api-keys", KEY, "--threads", "1")
    with Server(*flags, "--load-limit", "0") as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def wav() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, RATE, "FLOAT", format="WAV")
    return file.getvalue()


def query(terms: list[str], name: str = "keyterm") -> str:
    return "".join(f"&{name}={quote(term)}" for term in terms)


@BOTH
def test_stream(server: Server, terms: list[str], heard: str) -> None:
    with stream(server.url, f"words=true{query([*terms, 'nine:0.1'] if terms else [])}") as client:
        client.send(SAMPLES.tobytes())
        client.control("eos")
        assert " ".join(words(client.until_type("end"))) == heard


@BOTH
def test_the_python_client(server: Server, terms: list[str], heard: str) -> None:
    async def run() -> str:
        async with connect(server.url, key=KEY, key_terms=terms) as opened:
            return (await hear(opened, iter([SAMPLES]))).transcript(0).text

    assert asyncio.run(run()) == heard


def test_the_python_client_does_not_leave_it_to_moshis_protocol_which_would_not_tell(server: Server) -> None:
    with pytest.raises(UnsupportedError, match="key terms need /v1/stream"):
        connect(server.url, key=KEY, dialect="moshi", key_terms=[TERM])


@BOTH
@pytest.mark.parametrize("path", ["/v1/transcribe", "/api/asr-streaming"])
def test_a_posted_recording(server: Server, wav: bytes, path: str, terms: list[str], heard: str) -> None:
    answer = httpx.post(
        f"{server.url}{path}?{query(terms)[1:]}", content=wav, headers={"kyutai-api-key": KEY}, timeout=PATIENCE
    )
    told = answer.json()
    said = told["text"] if isinstance(told, dict) else " ".join(one["text"] for one in told if one["type"] == "Word")
    assert said == heard


@BOTH
def test_moshi(server: Server, terms: list[str], heard: str) -> None:
    with moshi(server.url, f"/api/asr-streaming?x=0{query(terms)}") as client:
        client.audio(np.concatenate([SAMPLES, np.zeros(RATE, np.float32)]))
        client.say("Marker", id=1)
        assert " ".join(words(client.until_type("Marker"))) == heard


@BOTH
@pytest.mark.parametrize("name", ["keyterm", "keywords"])
def test_deepgram(server: Server, wav: bytes, name: str, terms: list[str], heard: str) -> None:
    asked = {name: [f"{term}:1" if name == "keywords" else term for term in terms]}
    with client_of(server) as client:
        with listen(client, sample_rate=RATE, **asked) as live:
            live.send(pcm(SAMPLES, RATE))
            live.finish()
            assert live.text() == heard
        answer = client.listen.v1.media.transcribe_file(request=wav, model="nova-3", **asked)
        assert answer.results.channels[0].alternatives[0].transcript == heard


@BOTH
def test_openai(server: Server, wav: bytes, terms: list[str], heard: str) -> None:
    with OpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=0, timeout=PATIENCE) as client:
        answer = client.audio.transcriptions.create(
            file=("noise.wav", wav), model="whisper-1", extra_body={"keywords": terms}
        )
        assert answer.text == heard


@BOTH
def test_openai_realtime(server: Server, terms: list[str], heard: str) -> None:
    with session(server) as opened:
        told = opened.update(turn_detection=None, transcription={"keywords": terms})
        assert told.session.to_dict()["audio"]["input"]["transcription"]["keywords"] == terms
        assert opened.update(transcription={"language": "en"}).type == "session.updated"  # leaves them
        opened.append(SAMPLES)
        opened.connection.input_audio_buffer.commit()
        assert opened.transcripts(1) == [heard]
        refused = opened.update(transcription={"keywords": ["one"]})
        assert refused.error.param == "session.audio.input.transcription.keywords"
        assert "before the first audio only" in refused.error.message
        assert opened.update(transcription={"keywords": terms}).type == "session.updated"  # as before


@BOTH
@pytest.mark.parametrize("name", ["transcript_names", "transcript_terms"])
def test_wyoming(server: Server, name: str, terms: list[str], heard: str) -> None:
    async def script(peer: Talk) -> str:
        await peer.say(Transcribe(**{name: terms}))
        await peer.audio(SAMPLES, RATE)
        await peer.say(AudioStop())
        found = await peer.until("transcript-stop")
        return Transcript.from_event(next(event for event in found if event.type == "transcript")).text

    assert talk(server, script) == heard


@pytest.mark.parametrize(
    ("term", "why"),
    [
        ("Kyutai", "cannot write the key term 'Kyutai'; its words are zero, one"),
        ("six:11", "above 0 and at most 5, that of 'six' is 11"),
        ("x" * 65, "at most 64 characters"),
    ],
)
def test_what_cannot_be_is_refused_before_the_upgrade_with_the_reason(server: Server, term: str, why: str) -> None:
    for path in ("/v1/stream", "/v1/listen"):
        name = "keywords" if path == "/v1/listen" else "keyterm"
        how = f"{path}?encoding=linear16&sample_rate=16000" if path == "/v1/listen" else f"{path}?vad=true"
        headers = {
            "kyutai-api-key": KEY, "Authorization": f"Token {KEY}", "Connection": "Upgrade", "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }  # fmt: skip
        answer = httpx.get(f"{server.url}{how}{query([term], name)}", headers=headers)
        assert answer.status_code == 400
        assert why in answer.text
    told = moshi_error(server, term)
    assert why in told


def moshi_error(server: Server, term: str) -> str:
    with moshi(server.url, f"/api/asr-streaming?x=0{query([term])}") as client:
        return str(client.next()["message"])
