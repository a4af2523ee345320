"""Deepgram's API as its own client package speaks it: `deepgram-sdk` against our server."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest
import soxr
from deepgram import DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.errors import BadRequestError
from deepgram.speak.v1.types import SpeakV1Text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from vivavoce import audio
from vivavoce.server.dialects.sound import _ALAW, _MULAW

from ...example import EXAMPLE, SAID, WORDS
from ..process import Server, fetch
from .dialogue import KEY, PATIENCE, Samples

SECOND = 24_000
PAUSE = np.zeros(3 * SECOND, np.float32)
# The package asks for names of older versions of `websockets` and pydantic.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    flags = ("--slots", "2", "--tts-model", "tts-digits-en", "--tts-slots", "2", "--load-limit", "0")
    with Server(*flags, "--api-keys", KEY, "--threads", "1") as server:
        server.wait_ready()
        yield server


@contextmanager
def client_of(server: Server, key: str = KEY) -> Iterator[DeepgramClient]:
    socket = f"ws{server.url.removeprefix('http')}"
    place = DeepgramClientEnvironment(base=server.url, production=socket, agent=socket, agent_rest=server.url)
    with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
        yield DeepgramClient(api_key=key, environment=place, httpx_client=http)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[DeepgramClient]:
    with client_of(server) as client:
        yield client


class Live:
    """The package's connection to /v1/listen, with what it got."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.heard: list[Any] = []

    def send(self, data: bytes, piece: int = 6_400) -> None:
        for start in range(0, len(data), piece):
            self.connection.send_media(data[start : start + piece])

    def until(self, enough: Callable[[Any], bool]) -> Any:
        while True:
            self.heard.append(self.connection.recv())
            if enough(self.heard[-1]):
                return self.heard[-1]

    def finish(self) -> Any:
        """The Metadata that answers CloseStream; then the server closes."""
        self.connection.send_close_stream()
        metadata = self.until(lambda message: message.type == "Metadata")
        with pytest.raises(ConnectionClosed) as ended:
            self.connection.recv()
        assert ended.value.rcvd
        assert ended.value.rcvd.code == 1000
        return metadata

    def results(self, final: bool = True, channel: int = 0) -> list[Any]:
        return [
            message
            for message in self.heard
            if message.type == "Results" and message.is_final == final and message.channel_index[0] == channel
        ]

    def text(self, channel: int = 0) -> str:
        said = [result.channel.alternatives[0].transcript for result in self.results(channel=channel)]
        return " ".join(part for part in said if part)


class _Listening:
    def __init__(self, connection: AbstractContextManager[Any]) -> None:
        self._connection = connection

    def __enter__(self) -> Live:
        return Live(self._connection.__enter__())

    def __exit__(self, *error: Any) -> None:
        self._connection.__exit__(*error)


def listen(client: DeepgramClient, **asked: Any) -> _Listening:
    how = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000, **asked}
    return _Listening(client.listen.v1.connect(**{name: value for name, value in how.items() if value is not None}))


def pcm(samples: Samples, rate: int = 16_000) -> bytes:
    low = soxr.resample(samples, SECOND, rate)
    return np.round(np.clip(low, -1, 1) * 32_767).astype("<i2").tobytes()


# --- /v1/listen, live ---


def test_interim_text_grows_and_final_text_is_told_once(client: DeepgramClient, digits: Samples) -> None:
    with listen(client, interim_results=True, endpointing=300) as live:
        live.send(pcm(digits))
        metadata = live.finish()
    assert live.text() == SAID
    words = [word for result in live.results() for word in result.channel.alternatives[0].words]
    assert [word.word for word in words] == WORDS
    assert [word.punctuated_word for word in words] == WORDS
    assert all(0 < word.confidence <= 1 for word in words)
    assert all(first.start <= second.start for first, second in pairwise(words))
    interims = [result.channel.alternatives[0].transcript for result in live.results(final=False)]
    assert len(interims) >= len(WORDS)
    final = ""
    for message in live.heard:  # what was shown once is never shown otherwise
        if message.type == "Results":
            shown = f"{final} {message.channel.alternatives[0].transcript}".strip()
            assert SAID.startswith(shown)
            final = shown if message.is_final else final
    spans = [(result.start, result.duration) for result in live.results()]
    for (start, duration), (following, _) in pairwise(spans):
        assert following == pytest.approx(start + duration, abs=1e-4)  # finals lie one after another
    assert metadata.duration == pytest.approx(11.47, abs=0.01)
    assert (metadata.channels, len(metadata.sha256)) == (1, 64)
    assert {result.metadata.request_id for result in live.results()} == {metadata.request_id}
    assert live.results()[0].metadata.model_info.name == "stt-digits-en"


def test_without_interim_results_there_are_only_final_ones(client: DeepgramClient, three_digits: Samples) -> None:
    with listen(client) as live:
        live.send(pcm(three_digits))
        live.finish()
    assert not live.results(final=False)
    assert live.text() == "zero two zero"


def test_a_pause_makes_a_result_speech_final_and_no_word_of_the_next_one_is_in_it(
    client: DeepgramClient, three_digits: Samples
) -> None:
    with listen(client, endpointing=500) as live:
        live.send(pcm(np.concatenate([three_digits, PAUSE, three_digits, PAUSE])))
        live.until(lambda _: len(live.results()) == 2)
        first, second = live.results()
        live.finish()
    assert (first.speech_final, second.speech_final) == (True, True)
    assert first.channel.alternatives[0].transcript == second.channel.alternatives[0].transcript == "zero two zero"
    assert not first.from_finalize


def test_endpointing_may_be_off_and_long_speech_is_final_all_the_same(client: DeepgramClient, digits: Samples) -> None:
    with listen(client, endpointing="false") as live:
        live.send(pcm(np.concatenate([digits, PAUSE])))
        live.finish()
    assert [result.speech_final for result in live.results()][:-1] == [False] * (len(live.results()) - 1)
    assert len(live.results()) >= 2
    assert live.text() == SAID


def test_the_end_of_an_utterance_is_told_once_behind_its_last_word(
    client: DeepgramClient, three_digits: Samples
) -> None:
    with listen(client, interim_results=True, utterance_end_ms=1000, vad_events=True) as live:
        live.send(pcm(np.concatenate([three_digits, PAUSE, three_digits, PAUSE])))
        live.finish()
    ends = [message for message in live.heard if message.type == "UtteranceEnd"]
    assert len(ends) == 2
    for end in ends:
        before = live.heard[: live.heard.index(end)]
        finals = [message for message in before if message.type == "Results" and message.is_final]
        assert finals[-1].channel.alternatives[0].words[-1].end == end.last_word_end
        assert end.channel == [0, 1]
    starts = [message.timestamp for message in live.heard if message.type == "SpeechStarted"]
    assert starts[0] == pytest.approx(0.84, abs=0.1)
    assert live.text() == "zero two zero zero two zero"


def test_finalize_is_always_answered_with_every_word_before_it(client: DeepgramClient, digits: Samples) -> None:
    with listen(client) as live:
        live.send(pcm(digits[: 2 * SECOND]))
        live.connection.send_finalize()
        answer = live.until(lambda message: message.type == "Results" and message.from_finalize)
        assert answer.is_final
        assert live.text() == "zero two zero"
        live.connection.send_finalize()  # nothing was said since
        again = live.until(lambda message: message.type == "Results" and message.from_finalize)
        assert again.channel.alternatives[0].transcript == ""
        assert live.finish().duration == pytest.approx(2.0, abs=0.01)
    assert live.text() == "zero two zero"


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    with Server("--slots", "2", "--idle-seconds", "1", "--no-auth") as server:
        server.wait_ready()
        yield server


def told_to_be_silent(live: Live) -> None:
    with pytest.raises(ConnectionClosed) as ended:
        live.until(lambda _: False)
    assert ended.value.rcvd
    assert ended.value.rcvd.code == 1011
    assert ended.value.rcvd.reason.startswith("NET-0001: neither audio nor KeepAlive for 1 s")
    assert live.heard[-1].type == "Error"


def test_keep_alive_is_heard_and_silence_without_it_is_net_0001(impatient: Server) -> None:
    with client_of(impatient) as client, listen(client) as live:
        for _ in range(4):
            live.connection.send_keep_alive()
            with pytest.raises(TimeoutError):
                live.connection._websocket.recv(0.4)
        told_to_be_silent(live)


def test_who_configures_but_neither_speaks_nor_keeps_alive_is_told_the_same(impatient: Server) -> None:
    with client_of(impatient) as client, listen(client) as live:
        for _ in range(2):
            live.connection._websocket.send('{"type": "Configure"}')
            assert "ConfigureSuccess" in str(live.connection._websocket.recv(1))
            with pytest.raises(TimeoutError):
                live.connection._websocket.recv(0.4)
        told_to_be_silent(live)


def _companded(samples: Samples, table: Samples, rate: int) -> bytes:
    low = soxr.resample(samples, SECOND, rate)
    return np.abs(low[:, None] - table[None]).argmin(1).astype(np.uint8).tobytes()


def _opus(samples: Samples) -> bytes:
    file = io.BytesIO()
    with audio.Writer(file, "opus", "x") as writer:
        writer.write(samples)
    return file.getvalue()


ENCODED: dict[str, tuple[dict[str, Any], Callable[[Samples], bytes]]] = {
    "linear16 at 8 kHz": ({"sample_rate": 8_000}, lambda samples: pcm(samples, 8_000)),
    "linear16 at 48 kHz": ({"sample_rate": 48_000}, lambda samples: pcm(samples, 48_000)),
    "linear32": ({"encoding": "linear32", "sample_rate": SECOND}, lambda samples: samples.astype("<f4").tobytes()),
    "mulaw": ({"encoding": "mulaw", "sample_rate": 8_000}, lambda samples: _companded(samples, _MULAW, 8_000)),
    "alaw": ({"encoding": "alaw", "sample_rate": 8_000}, lambda samples: _companded(samples, _ALAW, 8_000)),
    "ogg-opus": ({"encoding": "ogg-opus", "sample_rate": None}, _opus),
    "in a container": ({"encoding": None, "sample_rate": None}, _opus),
    "two channels mixed": ({"channels": 2}, lambda samples: _interleaved(samples, samples)),
}


def _interleaved(left: Samples, right: Samples) -> bytes:
    both = [np.frombuffer(pcm(samples), "<i2") for samples in (left, right)]
    return np.stack(both, axis=1).tobytes()


@pytest.mark.parametrize("name", ENCODED)
def test_encodings_and_rates(client: DeepgramClient, three_digits: Samples, name: str) -> None:
    asked, encode = ENCODED[name]
    with listen(client, **asked) as live:
        live.send(encode(three_digits), 1_001)
        live.finish()
    assert live.text() == "zero two zero"


def test_each_of_several_channels_is_heard_by_itself(client: DeepgramClient, digits: Samples) -> None:
    left, right = digits[: 3 * SECOND], digits[5 * SECOND : 8 * SECOND]
    alone = []
    for side in (left, right):
        with listen(client) as live:
            live.send(pcm(side))
            live.finish()
            alone.append(live.text())
    with listen(client, channels=2, multichannel=True) as live:
        live.send(_interleaved(left, right), 4_097)
        assert live.finish().channels == 2
    assert [live.text(0), live.text(1)] == alone
    assert {tuple(result.channel_index) for result in live.heard if result.type == "Results"} == {(0, 2), (1, 2)}


def test_key_terms_can_be_told_before_the_first_audio_and_are_refused_later(
    client: DeepgramClient, digits: Samples
) -> None:
    from deepgram.listen.v1.types import ListenV1Configure

    with listen(client) as live:
        live.connection.send_configure(ListenV1Configure(keyterms=["Kyutai"]))
        failed = live.until(lambda _: True)
        assert (failed.type, failed.code) == ("ConfigureFailure", "CONFIGURE_KEYTERMS_NOT_SUPPORTED")
        live.connection.send_configure(ListenV1Configure(keyterms=["seven"]))
        told = live.until(lambda _: True)
        assert (told.type, told.keyterms) == ("ConfigureSuccess", ["seven"])
        live.send(pcm(digits[:SECOND]))
        live.connection.send_configure(ListenV1Configure(keyterms=["seven"]))  # as before
        assert live.until(lambda message: message.type.startswith("Configure")).type == "ConfigureSuccess"
        live.connection.send_configure(ListenV1Configure(keyterms=["one"]))
        failed = live.until(lambda message: message.type.startswith("Configure"))
        assert (failed.type, failed.code) == ("ConfigureFailure", "CONFIGURE_KEYTERMS_NOT_SUPPORTED")
        live.finish()


def test_a_configuration_that_cannot_be_is_a_failure_and_nonsense_an_error(client: DeepgramClient) -> None:
    from deepgram.listen.v1.types import ListenV1Configure

    with listen(client) as live:
        live.connection.send_configure(ListenV1Configure(keyterms=[], features={"punctuate": True}))
        assert live.until(lambda _: True).type == "ConfigureSuccess"
        live.connection._send({"type": "Sing"})
        error = live.until(lambda _: True)
        assert (error.type, error.variant, error.message) == ("Error", "SchemaError", '{"type": "Sing"}')
        live.finish()


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"keyterm": "Kyutai"}, 400, "keyterm"),
    ({"keywords": "Kyutai:2"}, 400, "keywords"),
    ({"keywords": "one:-2"}, 400, "above 0"),
    ({"diarize": True}, 400, "diarize"),
    ({"redact": "pci"}, 400, "redact"),
    ({"numerals": True}, 400, "numerals"),
    ({"profanity_filter": True}, 400, "profanity_filter"),
    ({"callback": "https://example.org"}, 400, "callback"),
    ({"language": "fr"}, 400, "language"),
    ({"language": "multi"}, 400, "language"),
    ({"encoding": "g729"}, 400, "encoding"),
    ({"encoding": "midi"}, 400, "encoding"),
    ({"sample_rate": 12}, 400, "sample_rate"),
    ({"sample_rate": None}, 400, "sample_rate"),
    ({"channels": 99}, 400, "channels"),
    ({"utterance_end_ms": 1000}, 400, "interim_results"),
    ({"utterance_end_ms": 10, "interim_results": True}, 400, "utterance_end_ms"),
    ({"model": "stt-none"}, 404, "there are: stt-digits-en"),
    ({"multichannel": True, "encoding": None, "sample_rate": None}, 400, "multichannel"),
    ({"beams": 5}, 400, "beams"),
]


def test_what_stands_there_twice_is_refused_unless_it_may(server: Server) -> None:
    body = {"headers": TOKEN, "body": EXAMPLE.read_bytes()}
    twice = fetch(f"{server.url}/v1/listen?language=en&language=fr", **body)
    assert (twice.status, twice.json()["err_msg"]) == (400, "the parameter language is there 2 times")
    assert fetch(f"{server.url}/v1/listen?tag=a&tag=b&keyterm=one&keyterm=two", **body).status == 200


@pytest.mark.parametrize(("asked", "status", "named"), REFUSED)
def test_what_cannot_be_honoured_is_refused_before_the_upgrade(
    server: Server, asked: dict[str, Any], status: int, named: str
) -> None:
    how = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000, **asked}
    query = "&".join(f"{name}={str(value).lower() if value is True else value}" for name, value in how.items() if value)
    with pytest.raises(InvalidStatus) as refused, connect(address(server, query), additional_headers=TOKEN, proxy=None):
        pass
    response = refused.value.response
    body = json.loads(response.body)
    assert response.status_code == status
    assert named in body["err_msg"]
    assert response.headers["dg-error"] == body["err_msg"]
    assert set(body) == {"err_code", "err_msg", "request_id"}


TOKEN = {"Authorization": f"Token {KEY}"}


def address(server: Server, query: str = "", path: str = "listen") -> str:
    return f"ws{server.url.removeprefix('http')}/v1/{path}?{query}"


def test_wishes_for_what_the_model_does_anyway_are_taken(client: DeepgramClient, three_digits: Samples) -> None:
    wishes = {"punctuate": True, "smart_format": True, "language": "en-US", "mip_opt_out": True, "diarize": False}
    with listen(client, **wishes, tag=["a", "b"], extra="order:7") as live:
        live.send(pcm(three_digits))
        metadata = live.finish()
    assert (metadata.tags, metadata.extra) == (["a", "b"], {"order": "7"})
    assert live.text() == "zero two zero"


def test_a_browser_gives_its_key_as_a_subprotocol(server: Server) -> None:
    query = "encoding=linear16&sample_rate=16000"
    with connect(address(server, query), subprotocols=["token", KEY], proxy=None) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "token"
        socket.send('{"type":"CloseStream"}')
        assert '"Metadata"' in str(socket.recv(PATIENCE))


def test_a_wrong_key_is_told_in_deepgrams_words(server: Server) -> None:
    with client_of(server, "wrong") as stranger:
        with pytest.raises(InvalidStatus) as turned_away, listen(stranger):
            pass
        assert turned_away.value.response.status_code == 401
        for ask in (lambda: transcribe(stranger), lambda: b"".join(stranger.speak.v1.audio.generate(text="one"))):
            with pytest.raises(ApiError) as refused:
                ask()
            body: Any = refused.value.body
            assert (refused.value.status_code, body["err_code"]) == (401, "INVALID_AUTH")


def test_when_too_few_slots_are_free_none_is_taken(server: Server, client: DeepgramClient) -> None:
    with listen(client):
        with pytest.raises(InvalidStatus) as refused, listen(client, channels=2, multichannel=True):
            pass
        assert refused.value.response.status_code == 503
        with listen(client) as other:
            other.finish()


def test_what_is_no_audio_ends_the_stream_only_when_it_does_not_stop(client: DeepgramClient) -> None:
    with listen(client, encoding=None, sample_rate=None) as live:
        live.connection.send_media(b"no audio")
        error = live.until(lambda _: True)
        assert (error.type, "Ogg/Opus" in error.description) == ("Error", True)
        for _ in range(19):
            live.connection.send_media(b"no audio")
        with pytest.raises(ConnectionClosed) as ended:
            live.until(lambda _: False)
    assert ended.value.rcvd
    assert (ended.value.rcvd.code, ended.value.rcvd.reason[:10]) == (1008, "DATA-0000:")


def test_kill_9_of_the_engine_costs_no_word(server: Server, client: DeepgramClient, digits: Samples) -> None:
    with listen(client, interim_results=True) as live:
        live.send(pcm(digits[: 6 * SECOND]))
        live.until(lambda message: message.type == "Results")
        kill(server, "stt")
        live.send(pcm(digits[6 * SECOND :]))
        live.finish()
    assert live.text() == SAID


def kill(server: Server, name: str) -> None:
    engines = {engine["name"]: engine["pid"] for engine in server.get("/api/status").json()["engines"]}
    os.kill(engines[name], signal.SIGKILL)


# --- POST /v1/listen ---


def transcribe(client: DeepgramClient, data: bytes | None = None, **asked: Any) -> Any:
    body = EXAMPLE.read_bytes() if data is None else data
    return client.listen.v1.media.transcribe_file(request=body, model="nova-3", **asked)


def test_a_recording_in_one_request(client: DeepgramClient) -> None:
    answer = transcribe(client, utterances=True, tag=["t"])
    (channel,) = answer.results.channels
    assert channel.alternatives[0].transcript == SAID
    assert [word.word for word in channel.alternatives[0].words] == WORDS
    assert " ".join(utterance.transcript for utterance in answer.results.utterances) == SAID
    assert len(answer.results.utterances) > 1
    assert (answer.metadata.duration, answer.metadata.channels, answer.metadata.tags) == (11.47, 1, ["t"])
    assert transcribe(client).results.utterances is None


def test_channels_of_a_recording_are_heard_one_by_one(client: DeepgramClient, digits: Samples) -> None:
    left, right = digits[: 3 * SECOND], digits[5 * SECOND : 8 * SECOND]
    asked = {"encoding": "linear16", "multichannel": True}
    how = {"additional_query_parameters": {"sample_rate": 16_000, "channels": 2}}
    answer = transcribe(client, _interleaved(left, right), **asked, request_options=how)
    said = [channel.alternatives[0].transcript for channel in answer.results.channels]
    how = {"additional_query_parameters": {"sample_rate": 16_000}}
    alone = [transcribe(client, pcm(side), encoding="linear16", request_options=how) for side in (left, right)]
    assert said == [answer.results.channels[0].alternatives[0].transcript for answer in alone]
    assert answer.metadata.channels == 2


def test_a_recording_that_cannot_be_had_is_a_bad_request(client: DeepgramClient) -> None:
    for ask, why in (
        (lambda: transcribe(client, b"no audio at all"), "not audio in any format"),
        (lambda: transcribe(client, keyterm="Kyutai"), "keyterm"),
        (lambda: transcribe(client, summarize="v2"), "summarize"),
        (lambda: client.listen.v1.media.transcribe_url(url="http://127.0.0.1/x.wav"), "not fetched"),
    ):
        with pytest.raises(BadRequestError) as refused:
            ask()
        assert why in refused.value.body["err_msg"]


# --- /v1/speak ---


def spoken(client: DeepgramClient, **asked: Any) -> bytes:
    return b"".join(client.speak.v1.audio.generate(text="four one two", **{"model": "aura-2-thalia-en", **asked}))


@pytest.mark.parametrize(
    ("asked", "head"),
    [
        ({}, b"ID3"),
        ({"encoding": "mp3", "bit_rate": 32_000}, b"ID3"),
        ({"encoding": "linear16"}, b"RIFF"),
        ({"encoding": "linear16", "sample_rate": 8_000}, b"RIFF"),
        ({"encoding": "mulaw", "sample_rate": 8_000}, b"RIFF"),
        ({"encoding": "alaw", "sample_rate": 8_000}, b"RIFF"),
        ({"encoding": "opus"}, b"OggS"),
        ({"encoding": "flac", "sample_rate": 16_000}, b"fLaC"),
        ({"encoding": "aac"}, b"\xff\xf1"),
    ],
)
def test_speech_in_every_encoding_says_the_words(client: DeepgramClient, asked: dict[str, Any], head: bytes) -> None:
    data = spoken(client, **asked)
    assert data.startswith(head)
    assert transcribe(client, data).results.channels[0].alternatives[0].transcript == "four one two"


def test_speech_without_a_container_is_samples_alone(client: DeepgramClient) -> None:
    bare, wav = spoken(client, encoding="linear16", container="none"), spoken(client, encoding="linear16")
    assert wav.endswith(bare)
    assert len(spoken(client, encoding="mulaw", container="none", sample_rate=8_000)) == pytest.approx(
        len(bare) / 6, abs=16
    )


@pytest.mark.parametrize(
    ("asked", "status", "named"),
    [
        ({"model": "nobody"}, 404, "there are: "),
        ({"encoding": "midi"}, 400, "encoding"),
        ({"encoding": "linear16", "sample_rate": 11_025}, 400, "sample_rate"),
        ({"encoding": "flac", "container": "ogg"}, 400, "container"),
        ({"encoding": "linear16", "bit_rate": 48_000}, 400, "bit_rate"),
        ({"speed": 1.5}, 400, "speed"),
        ({"callback": "https://example.org"}, 400, "callback"),
    ],
)
def test_speech_that_cannot_be_had_is_refused(
    client: DeepgramClient, asked: dict[str, Any], status: int, named: str
) -> None:
    with pytest.raises(ApiError) as refused:
        spoken(client, **asked)
    assert refused.value.status_code == status
    assert named in refused.value.body["err_msg"]  # type: ignore[index]


def test_a_word_that_the_voice_cannot_say_is_refused(server: Server, client: DeepgramClient) -> None:
    with pytest.raises(BadRequestError, match="cannot say 'hello'"):
        b"".join(client.speak.v1.audio.generate(text="hello"))
    for body in (b"{", b'{"url": "x"}', b'{"text": " "}', b'{"text": "four", "speed": 2}'):
        assert fetch(f"{server.url}/v1/speak", TOKEN, body).status == 400


class Voice:
    """The package's connection to /v1/speak, with what it got."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.audio = b""
        self.told: list[Any] = []

    def say(self, text: str) -> None:
        self.connection.send_text(SpeakV1Text(type="Speak", text=text))

    def until(self, type: str) -> Any:
        while True:
            message = self.connection.recv()
            if isinstance(message, bytes):
                self.audio += message
                continue
            self.told.append(message)
            if message.type == type:
                return message


@pytest.mark.parametrize(
    ("encoding", "rate", "width"), [("linear16", 24_000, 2), ("linear16", 8_000, 2), ("mulaw", 8_000, 1)]
)
def test_words_may_be_cut_anywhere_and_flush_speaks_them_to_the_end(
    client: DeepgramClient, encoding: str, rate: int, width: int
) -> None:
    whole = len(spoken(client, encoding="linear16", container="none")) // 2
    with client.speak.v1.connect(model="aura-2-thalia-en", encoding=encoding, sample_rate=rate) as connection:
        voice = Voice(connection)
        assert voice.until("Metadata").model_name == "tts-digits-en"
        for piece in ("fo", "ur o", "ne two"):
            voice.say(piece)
        connection.send_flush()
        assert voice.until("Flushed").sequence_id == 0
        assert len(voice.audio) == pytest.approx(whole * width * rate / 24_000, abs=16)
        voice.say("six")
        connection.send_flush()
        assert voice.until("Flushed").sequence_id == 1


def test_clear_drops_what_was_not_spoken_and_close_says_the_rest(client: DeepgramClient) -> None:
    with client.speak.v1.connect(encoding="linear16") as connection:
        voice = Voice(connection)
        voice.say("hello ")
        assert "cannot say 'hello'" in voice.until("Warning").description
        voice.say("one two three four five six seven eight nine " * 20)
        connection.send_clear()
        assert voice.until("Cleared").sequence_id == 0
        before = len(voice.audio)
        voice.say("six")
        connection.send_close()
        with pytest.raises(ConnectionClosed) as ended:
            voice.until("never")
        assert ended.value.rcvd
        assert ended.value.rcvd.code == 1000
        assert 24_000 < len(voice.audio) - before < 120_000


def test_kill_9_of_the_speaking_engine_is_not_heard(server: Server, client: DeepgramClient) -> None:
    expected = spoken(client, encoding="linear16", container="none")
    pieces = client.speak.v1.audio.generate(
        text="four one two", model="aura-2-thalia-en", encoding="linear16", container="none"
    )
    said = [next(iter(pieces))]
    kill(server, "tts")
    said += pieces
    heard, wanted = (np.frombuffer(data, "<i2").astype(int) for data in (b"".join(said), expected))
    np.testing.assert_allclose(heard, wanted, atol=4)
