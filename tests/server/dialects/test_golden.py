"""The golden transcripts, replayed. Bytes are compared as they are, but for what a processor's rounding may change
(probabilities) and for the session's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from ..process import Server
from . import golden
from .dialogue import PATIENCE

ROUNDING = 2e-3  # of a probability, between processors
NAMES = (
    "id",
    "event_id",
    "item_id",
    "previous_item_id",
    "expires_at",
    "created",
)  # new each time, but for what kind_ they are


@pytest.fixture(scope="module")
def speaking_url() -> Iterator[str]:
    """A server that speaks with the embedded voice."""
    with Server(*golden.flags_of("speech")) as server:
        server.wait_ready()
        yield server.url


@pytest.mark.parametrize("dialect", golden.DIALECTS)
def test_the_server_answers_as_it_did(dialect: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("speaking_url" if dialect in golden.SPEAKING else "url")
    first, *lines = golden.read(dialect)
    with golden.opened(url, first["path"]) as socket:
        for number, line in enumerate(lines, 2):
            if line["from"] == "client":
                golden.send(socket, line)
            else:
                heard = golden.hear(socket, PATIENCE)
                assert same(line, heard), f"line {number}: expected {shown(line)}, heard {shown(heard)}"


def test_the_transcripts_hold_every_type_of_message() -> None:
    said = {shown(line).get("type") for line in golden.read("moshi")[1:] if line["from"] == "server"}
    assert said == {"Ready", "Step", "Word", "EndWord", "Marker", "Error"}
    said = {shown(line).get("type") for line in golden.read("speech")[1:] if line["from"] == "server"}
    assert said == {"Ready", "Text", "Audio", "Error", "Clear", "Flush", None}  # and the close
    said = {shown(line).get("type") for line in golden.read("stream")[1:] if line["from"] == "server"}
    assert said >= {"ready", "token", "word_start", "word", "vad", "flushed", "error", "end"}
    said = {shown(line).get("type") for line in golden.read("openai")[1:] if line["from"] == "server"}
    heard = "conversation.item.input_audio_transcription"
    assert said == {
        "session.created", "session.updated", "input_audio_buffer.committed", "input_audio_buffer.cleared",
        "conversation.item.added", "conversation.item.done", f"{heard}.delta", f"{heard}.completed", "error",
    }  # fmt: skip
    said = {shown(line).get("type") for line in golden.read("deepgram")[1:] if line["from"] == "server"}
    assert said == {"Results", "UtteranceEnd", "Metadata", "ConfigureFailure", "ConfigureSuccess", "Error", None}
    said = {shown(line).get("type") for line in golden.read("gradium")[1:] if line["from"] == "server"}
    assert said == {"ready", "text", "end_text", "step", "flushed", "end_of_stream", None}
    said = {shown(line).get("type") for line in golden.read("gradium_speech")[1:] if line["from"] == "server"}
    assert said == {"ready", "text", "audio", "end_of_stream", "error", None}


def shown(line: golden.Line) -> dict[str, Any]:
    if "bytes" in line:
        return {"type": "Audio", "head": line["hex"], "bytes": line["bytes"]}
    if "hex" in line:
        return msgpack.unpackb(bytes.fromhex(line["hex"]))
    return json.loads(line["text"]) if line.get("text", "").startswith("{") else line


def same(line: golden.Line, heard: golden.Line) -> bool:
    if line == heard:
        return True
    if line.keys() != heard.keys() or "close" in line:
        return False
    expected, given = shown(line), shown(heard)
    if list(expected) != list(given) or len(line.get("hex", "")) != len(heard.get("hex", "")):
        return False
    return all(alike(name, value, given[name]) for name, value in expected.items())


def alike(name: str, expected: Any, given: Any) -> bool:
    if isinstance(expected, dict) and isinstance(given, dict):
        return list(expected) == list(given) and all(alike(key, expected[key], given[key]) for key in expected)
    if isinstance(expected, list) and isinstance(given, list) and name not in ("prs", "pauses"):
        return len(expected) == len(given) and all(alike(name, *pair) for pair in zip(expected, given, strict=True))
    if name in ("session", "request_id"):
        return isinstance(given, str) and len(given) == len(expected)
    if name in NAMES and isinstance(expected, str | int):
        kinds = {(type(one), len(str(one)), str(one)[: str(one).find("_") + 1]) for one in (expected, given)}
        return len(kinds) == 1
    if name == "head":  # up to the first sample
        return bool(expected[:42] == given[:42])
    if name in ("prs", "pauses", "confidence", "logprob", "inactivity_prob"):
        return given == pytest.approx(expected, abs=ROUNDING)
    return bool(expected == given)
