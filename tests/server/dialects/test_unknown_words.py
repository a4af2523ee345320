"""A server that speaks with the embedded voice: words that it cannot say are refused in words, not said as noise."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from vivavoce.settings import embedded

from ..process import Server
from .dialogue import KEY
from .test_speech import pcm, post, speaking, texts

REFUSAL = "this voice cannot say 'hello'; its words are zero, one, two"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    flags = ("--model", "none", "--tts-model", str(embedded("tts")), "--tts-slots", "2", "--api-keys", KEY)
    with Server(*flags, "--threads", "1", "--load-limit", "0") as it:
        it.wait_ready()
        yield it


def test_a_stream_is_told_and_goes_on_with_the_words_that_it_can_say(server: Server) -> None:
    with speaking(server) as client:
        for word in ("four", "hello", "415", "..."):
            client.say("Text", text=word)
        client.say("Eos")
        messages = client.messages()
    [error] = [message["message"] for message in messages if message["type"] == "Error"]
    assert error.startswith(REFUSAL)
    assert texts(messages) == ["four", "4", "1", "5"]
    assert len(pcm(messages)) > 24_000


def test_a_raw_stream_says_so_in_its_close_frame(server: Server) -> None:
    with speaking(server, "format=Pcm") as client:
        client.send(msgpack.packb({"type": "Text", "text": "hello"}))
        code, reason = client.close_code()
    assert code == 4003
    assert reason.startswith(REFUSAL)


def test_one_request_is_refused_before_any_audio(server: Server) -> None:
    for body in ({"text": "four hello"}, {"text": ["four", "hello"], "voices": ["heart"]}):
        answer = post(server, body)
        assert answer.status == 400
        told = json.loads(answer.body)
        assert told["code"] == "unknown_word"
        assert REFUSAL in json.dumps(told)
    assert post(server, {"text": "four one five"}).status == 200


def test_say_tells_it_in_one_line_by_a_server_and_without_one(server: Server, tmp_path: Path) -> None:
    said = tmp_path / "said.wav"
    for arguments, code in (["--url", server.url.replace("http", "ws"), "--key", KEY], 1), ([], 7):
        command = [sys.executable, "-m", "vivavoce", "say", "four hello", "--output", said, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        [line] = done.stderr.splitlines()
        assert REFUSAL in line
        assert not said.exists()
