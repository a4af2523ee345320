"""Words that nobody can have said, as every protocol tells them: the embedded model guesses at digital silence."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vivavoce.client import connect, hear
from vivavoce.core import Event, Transcript, UnsupportedError, Word, WordDropped, WordStarted
from vivavoce.server.dialects import openai_transcription
from vivavoce.server.dialects.openai_form import Wanted
from vivavoce.server.dialects.upload import Heard

from ..process import Server, fetch
from .dialogue import KEY, moshi, stream, types, words

SILENCE = np.zeros(12 * 24_000, np.float32)
GUESSING = "temperature=3&seed=1"
HEADERS = {"kyutai-api-key": KEY}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--slots", "2", "--api-keys", KEY, "--load-limit", "0") as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def flagged(server: Server) -> list[dict[str, Any]]:
    heard = listen(server, "")
    assert len(words(heard)) >= 3, "the model guesses at nothing"
    return heard


def listen(server: Server, query: str) -> list[dict[str, Any]]:
    with stream(server.url, f"words=true&{GUESSING}&{query}") as client:
        client.send(SILENCE.tobytes())
        client.control("eos")
        return client.until_type("end")


def recording() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SILENCE, 24_000, "PCM_16", format="WAV")
    return file.getvalue()


def test_by_default_every_word_is_told_and_says_why_it_is_suspect(flagged: list[dict[str, Any]]) -> None:
    told = [message for message in flagged if message["type"] in ("word", "word_start")]
    assert {message["suspect"] for message in told} == {"silence"}
    text = "".join(message["text"] for message in flagged if message["type"] == "token")
    assert text.split() == words(flagged)
    assert "dropped" not in flagged[-1]


def test_dropped_words_are_named_and_counted(server: Server, flagged: list[dict[str, Any]]) -> None:
    heard = listen(server, "guard=drop")
    dropped = [message for message in heard if message["type"] == "word_dropped"]
    assert [message["text"] for message in dropped] == words(flagged)
    assert [message["start"] for message in dropped] == [m["start"] for m in flagged if m["type"] == "word"]
    assert heard[-1]["dropped"] == len(dropped)
    assert not {"token", "word", "word_start", "vad_start"} & set(types(heard))


def test_in_one_request(server: Server, flagged: list[dict[str, Any]]) -> None:
    told = fetch(f"{server.url}/v1/transcribe?{GUESSING}", HEADERS, recording()).json()
    assert [word["suspect"] for word in told["words"]] == ["silence"] * len(words(flagged))
    assert "dropped" not in told
    told = fetch(f"{server.url}/v1/transcribe?{GUESSING}&guard=drop", HEADERS, recording()).json()
    assert (told["text"], told["words"]) == ("", [])
    assert [word["text"] for word in told["dropped"]] == words(flagged)


def test_moshi_servers_protocol_has_no_word_for_it_and_tells_all(server: Server, flagged: list[dict[str, Any]]) -> None:
    with moshi(server.url, f"/api/asr-streaming?{GUESSING}") as client:
        client.audio(SILENCE)
        client.say("Marker", id=1)
        assert words(client.until_type("Marker")) == words(flagged)


@pytest.mark.parametrize("guard", ["flag", "drop"])
def test_the_client_tells_what_the_server_does(server: Server, flagged: list[dict[str, Any]], guard: Any) -> None:
    told: list[object] = []

    async def run() -> Transcript:
        async with connect(server.url, key=KEY, temperature=3.0, seed=1, guard=guard) as client:
            heard = await hear(client, iter([SILENCE]), told=told.append)
            return heard.transcript(client.duration)

    transcript = asyncio.run(run())
    kept, left_out = (transcript.words, transcript.dropped)[:: 1 if guard == "flag" else -1]
    assert [(word.text, word.suspect) for word in kept] == [(text, "silence") for text in words(flagged)]
    assert not left_out
    kinds = {type(event) for event in told}
    assert (WordStarted in kinds, WordDropped in kinds) == (guard == "flag", guard == "drop")


def test_a_protocol_that_cannot_tell_of_dropped_words_is_not_asked_to_drop_them(server: Server) -> None:
    with pytest.raises(UnsupportedError, match="guard drop needs /v1/stream"):
        connect(server.url, key=KEY, dialect="moshi", guard="drop")


def test_the_command_marks_them_in_json_or_says_what_it_leaves_out(
    flagged: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "silence.wav"
    path.write_bytes(recording())

    def run(*flags: str) -> tuple[dict[str, Any], str]:
        how = ["--format", "json", "--temperature", "3", "--seed", "1", *flags]
        command = [sys.executable, "-m", "vivavoce", "transcribe", *how, str(path)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(ran.stdout), ran.stderr

    told, _ = run()
    assert {word["suspect"] for word in told["words"]} == {"silence"}
    assert "dropped" not in told
    told, said = run("--guard", "drop")
    assert (told["text"], [word["text"] for word in told["dropped"]]) == ("", words(flagged))
    assert f"{len(words(flagged))} suspect words are left out: {words(flagged)[0]} at" in said


def test_the_metrics_and_the_log_count_them(server: Server, flagged: list[dict[str, Any]]) -> None:
    metrics = fetch(f"{server.url}/metrics", HEADERS).body.decode()
    count = next(
        float(line.split()[-1])
        for line in metrics.splitlines()
        if line.startswith("vivavoce_suspect_words_total{") and 'reason="silence"' in line
    )
    assert count >= len(words(flagged))
    server.wait_for(f"{len(words(flagged))} words, {len(words(flagged))} suspect, done")


def test_openais_segments_say_how_likely_it_is_that_nobody_spoke() -> None:
    """The share of the segment's words that are suspect by what was heard."""
    from types import SimpleNamespace

    from vivavoce.core import WordEnded

    said = [Word("one", 0.0, 0.4, 0.9, "silence"), Word("two", 0.5, 0.9, 0.9), Word("two", 1.0, 1.4, 0.9, "repeated")]
    events: list[Event] = [WordEnded(word) for word in said]
    offer: Any = SimpleNamespace(runtime=SimpleNamespace(info=None))
    asked = Wanted(None, offer, "verbose_json", ("segment",), False, False, None, None)  # type: ignore[arg-type]
    (segment,) = json.loads(openai_transcription.written(asked, Heard(events, 2.0)).body)["segments"]
    assert segment["no_speech_prob"] == pytest.approx(1 / 3, abs=1e-4)
