"""OpenAI's API as its own client package speaks it: `openai` against our server."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from openai import OpenAI

from vivavoce import audio
from vivavoce.core import Transcript, Word

from ...example import EXAMPLE, SAID, WORDS
from ..process import Server, fetch
from .dialogue import KEY, PATIENCE

SENTENCE = "four one two"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    flags = ("--slots", "2", "--tts-model", "tts-digits-en", "--tts-slots", "2", "--load-limit", "0")
    with Server(*flags, "--api-keys", KEY, "--threads", "1") as server:
        server.wait_ready()
        yield server


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/speech"])
def test_a_query_is_refused_where_there_is_none(server: Server, path: str) -> None:
    answer = fetch(f"{server.url}{path}?language=en", {"authorization": f"Bearer {KEY}"}, b"{}")
    assert answer.status == 400
    assert answer.json()["error"]["message"] == "unknown parameter 'language'; what is wanted stands in the body"


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[OpenAI]:
    with OpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=0, timeout=PATIENCE) as client:
        yield client


def transcribe(client: OpenAI, **wishes: Any) -> Any:
    return client.audio.transcriptions.create(**{"file": EXAMPLE, "model": "stt-digits-en", **wishes})


# --- models ---


def test_the_models_that_are_served_are_listed_and_found(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["stt-digits-en", "tts-digits-en"]
    assert client.models.retrieve("tts-digits-en").object == "model"
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("gpt-6")
    assert missing.value.code == "model_not_found"
    assert "there are: stt-digits-en, tts-digits-en" in missing.value.message


# --- transcription ---


def test_a_recording_becomes_json_with_the_seconds_that_were_heard(client: OpenAI) -> None:
    answer = transcribe(client)
    assert answer.text == SAID
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 11.47)


@pytest.mark.parametrize("model", ["stt", "whisper-1", "gpt-4o-mini-transcribe", "gpt-4o-transcribe"])
def test_a_label_and_openais_own_names_stand_for_the_model_that_is_served(client: OpenAI, model: str) -> None:
    assert transcribe(client, model=model).text == SAID


def test_text_is_plain(client: OpenAI) -> None:
    assert transcribe(client, response_format="text") == SAID + "\n"


def test_subtitles_are_those_of_the_command_line(client: OpenAI) -> None:
    srt, vtt = transcribe(client, response_format="srt"), transcribe(client, response_format="vtt")
    assert srt.startswith("1\n00:00:00,880 --> ")
    assert vtt.startswith("WEBVTT\n\n00:00:00.880 --> ")
    for text in (srt, vtt):
        lines = [line for line in text.splitlines() if re.match(r"[a-z]", line)]
        assert " ".join(lines) == SAID


def test_verbose_json_has_the_granularities_that_were_asked_for(client: OpenAI) -> None:
    both = transcribe(client, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert (both.language, both.duration, both.text) == ("en", 11.47, SAID)
    assert [word.word for word in both.words] == WORDS
    assert all(0 <= word.start <= word.end <= 11.47 for word in both.words)
    assert " ".join(segment.text for segment in both.segments) == SAID
    assert both.segments[0].start == both.words[0].start
    assert all(segment.avg_logprob < 0 for segment in both.segments)
    segments = transcribe(client, response_format="verbose_json")
    assert segments.words is None
    assert segments.segments == both.segments
    assert transcribe(client, response_format="verbose_json", timestamp_granularities=["word"]).segments is None


def test_logprobs_are_those_of_the_pieces_of_the_text(client: OpenAI) -> None:
    answer = transcribe(client, include=["logprobs"])
    assert "".join(piece.token for piece in answer.logprobs) == SAID
    assert all(-5 < piece.logprob <= 0 for piece in answer.logprobs)
    assert bytes(map(int, answer.logprobs[1].bytes)).decode() == answer.logprobs[1].token


def test_a_stream_of_events_says_the_text_piece_by_piece(client: OpenAI) -> None:
    *pieces, done = transcribe(client, stream=True, include=["logprobs"])
    assert {piece.type for piece in pieces} == {"transcript.text.delta"}
    assert len(pieces) >= len(WORDS)
    assert "".join(piece.delta for piece in pieces) == done.text == SAID
    assert done.type == "transcript.text.done"
    assert [piece.logprobs[0].logprob for piece in pieces] == [piece.logprob for piece in done.logprobs]


def test_hints_that_the_model_can_honour_are_honoured(client: OpenAI) -> None:
    wishes = {"language": "en", "temperature": 0, "chunking_strategy": "auto", "prompt": "", "keywords": []}
    assert transcribe(client, **wishes).text == SAID
    assert transcribe(client, temperature=1.0, response_format="verbose_json").segments[0].temperature == 1.0


@pytest.mark.parametrize(
    ("wishes", "param", "code"),
    [
        ({"prompt": "digits"}, "prompt", "unsupported_value"),
        ({"keywords": ["Kyutai"]}, "keywords", "unsupported_value"),
        ({"language": "fr"}, "language", "unsupported_value"),
        ({"languages": ["en", "de"]}, "languages", "unsupported_value"),
        ({"response_format": "diarized_json"}, "response_format", "unsupported_value"),
        ({"response_format": "xml"}, "response_format", "invalid_value"),
        ({"known_speaker_names": ["a"]}, "known_speaker_names", "unsupported_value"),
        ({"chunking_strategy": {"type": "server_vad"}}, "chunking_strategy", "unsupported_value"),
        ({"temperature": 1.5}, "temperature", "invalid_value"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", "invalid_value"),
        ({"response_format": "verbose_json", "timestamp_granularities": ["day"]}, "timestamp_granularities", None),
        ({"include": ["logprobs"], "response_format": "text"}, "include", "invalid_value"),
        ({"stream": True, "response_format": "srt"}, "response_format", "unsupported_value"),
        ({"extra_body": {"beam_size": 5}}, "beam_size", "invalid_value"),
        ({"model": ""}, "model", "invalid_value"),
    ],
)
def test_a_hint_that_cannot_be_honoured_is_refused_and_never_passed_over(
    client: OpenAI, wishes: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        transcribe(client, **wishes)
    assert refused.value.param == param
    assert refused.value.code == (code or "invalid_value")
    assert refused.value.type == "invalid_request_error"
    assert param in refused.value.message


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    for model in ("nova-3", "gpt-4o-transcribe-diarize", "tts-digits-en"):
        with pytest.raises(openai.NotFoundError, match="there are: stt-digits-en"):
            transcribe(client, model=model)


def test_what_is_no_audio_and_what_is_no_form_is_said_so(client: OpenAI, server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="not audio in any format known here"):
        transcribe(client, file=("x.wav", b"no audio at all"))
    with pytest.raises(openai.BadRequestError, match="empty"):
        transcribe(client, file=("x.wav", b""))
    answer = fetch(f"{server.url}/v1/audio/transcriptions", {"authorization": f"Bearer {KEY}"}, b"RIFF")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_request")
    head = {"authorization": f"Bearer {KEY}", "content-type": "multipart/form-data; boundary=x"}
    broken = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nstt\r\n--y'
    answer = fetch(f"{server.url}/v1/audio/transcriptions", head, broken)
    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_wrong_key_is_an_authentication_error(server: Server) -> None:
    with OpenAI(api_key="wrong", base_url=f"{server.url}/v1", max_retries=0) as stranger:
        for ask in (lambda: transcribe(stranger), stranger.models.list, lambda: say(stranger)):
            with pytest.raises(openai.AuthenticationError) as refused:
                ask()
            assert refused.value.code == "invalid_api_key"


# --- speech ---


def say(client: OpenAI, **wishes: Any) -> bytes:
    asked = {"input": SENTENCE, "model": "tts-digits-en", "voice": "alloy", **wishes}
    return client.audio.speech.create(**asked).read()


@pytest.mark.parametrize(
    ("format", "head"),
    [("mp3", b"ID3"), ("opus", b"OggS"), ("aac", b"\xff\xf1"), ("flac", b"fLaC"), ("wav", b"RIFF"), ("pcm", b"")],
)
def test_speech_comes_in_every_format_and_says_the_words(client: OpenAI, format: str, head: bytes) -> None:
    data = say(client, response_format=format)
    assert data.startswith(head)
    if format == "pcm":
        wav = io.BytesIO()
        with audio.Writer(wav, "wav", "x") as writer:
            writer.write(np.frombuffer(data, "<i2").astype(np.float32) / 32_768)
        data = wav.getvalue()
    assert transcribe(client, file=("said", data)).text == SENTENCE


def test_without_a_format_it_is_mp3_as_openai_has_it(client: OpenAI) -> None:
    assert say(client).startswith(b"ID3")


def test_speech_as_events_is_the_same_audio_in_pieces(client: OpenAI, server: Server) -> None:
    body = {"input": SENTENCE, "model": "tts-1", "voice": "heart", "response_format": "pcm", "stream_format": "sse"}
    head = {"authorization": f"Bearer {KEY}"}
    with httpx2.stream("POST", f"{server.url}/v1/audio/speech", json=body, headers=head, timeout=PATIENCE) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    assert [event["type"] for event in events[-2:]] == ["speech.audio.delta", "speech.audio.done"]
    assert len(events) > 5


@pytest.mark.parametrize(
    ("wishes", "param", "code"),
    [
        ({"voice": "nobody"}, None, "voice_not_found"),
        ({"voice": ""}, "voice", "invalid_value"),
        ({"instructions": "whisper"}, "instructions", "unsupported_value"),
        ({"speed": 1.5}, "speed", "unsupported_value"),
        ({"response_format": "midi"}, "response_format", "invalid_value"),
        ({"input": "  "}, "input", "invalid_value"),
        ({"input": "hello"}, None, "invalid_request"),
        ({"extra_body": {"pitch": 2}}, "pitch", "invalid_value"),
    ],
)
def test_speech_that_cannot_be_had_is_refused(
    client: OpenAI, wishes: dict[str, Any], param: str | None, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        say(client, **wishes)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_a_body_that_is_no_json_is_refused(server: Server) -> None:
    for body in (b"{", b"[]", b'{"input": "\\ud800"}'):
        answer = fetch(f"{server.url}/v1/audio/speech", {"authorization": f"Bearer {KEY}"}, body)
        assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_kill_9_of_either_engine_costs_no_word(client: OpenAI, server: Server) -> None:
    def kill(name: str) -> None:
        engines = {engine["name"]: engine["pid"] for engine in server.get("/api/status").json()["engines"]}
        os.kill(engines[name], signal.SIGKILL)

    expected = say(client, response_format="pcm")
    with client.audio.speech.with_streaming_response.create(
        input=SENTENCE, model="tts-1", voice="alloy", response_format="pcm"
    ) as answer:
        pieces = answer.iter_bytes()
        said = [next(pieces)]
        kill("tts")
        said += pieces
    heard, wanted = (np.frombuffer(data, "<i2").astype(int) for data in (b"".join(said), expected))
    np.testing.assert_allclose(heard, wanted, atol=4)
    events = transcribe(client, stream=True)
    pieces_of_text = [next(iter(events)).delta]
    kill("stt")
    pieces_of_text += [event.delta for event in events if event.type == "transcript.text.delta"]
    assert "".join(pieces_of_text) == SAID


def test_a_transcript_of_nothing_has_no_segments() -> None:
    from vivavoce import subtitles

    assert list(subtitles.phrases((), ())) == []
    assert subtitles.vtt(Transcript((), 1.0)) == "WEBVTT\n"
    assert subtitles.srt(Transcript((Word("a", 0.0, 0.5, 1.0),), 1.0)) == "1\n00:00:00,000 --> 00:00:01,000\na\n"
