"""OpenAI's realtime transcription sessions as its own client package speaks them."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from vivavoce.server.dialects.sound import _MULAW

from ...example import SAID, WORDS
from ..process import Server
from .dialogue import KEY, PATIENCE, Samples

TRANSCRIPTION = "conversation.item.input_audio_transcription"
PAUSE = np.zeros(2 * 24_000, np.float32)
SECOND = 24_000
AUTHORISED = {"Authorization": f"Bearer {KEY}"}
# The package makes its connection in a way that this version of `websockets` does not like.
pytestmark = pytest.mark.filterwarnings("ignore:connect\\(\\) must be used:DeprecationWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--slots", "2", "--api-keys", KEY, "--threads", "1", "--load-limit", "0") as server:
        server.wait_ready()
        yield server


class Session:
    """The package's connection, with what it got."""

    def __init__(self, connection: RealtimeConnection) -> None:
        self.connection = connection
        self.heard: list[Any] = []

    def next(self) -> Any:
        event = self.connection.recv()
        self.heard.append(event)
        return event

    def until(self, type: str, count: int = 1) -> Any:
        while sum(event.type == type for event in self.heard) < count:
            self.next()
        return [event for event in self.heard if event.type == type][count - 1]

    def update(self, **changes: Any) -> Any:
        include = {"include": changes.pop("include")} if "include" in changes else {}
        session: Any = {"type": "transcription", "audio": {"input": changes}, **include}
        self.connection.session.update(session=session)
        event = self.next()
        while event.type not in ("session.updated", "error"):
            event = self.next()
        return event

    def append(self, samples: Samples, piece: int = 2_400) -> None:
        data = np.round(np.clip(samples, -1, 1) * 32_767).astype("<i2")
        for start in range(0, len(data), piece):
            self.connection.input_audio_buffer.append(audio=encoded(data[start : start + piece].tobytes()))

    def transcripts(self, count: int) -> list[str]:
        self.until(f"{TRANSCRIPTION}.completed", count)
        return [event.transcript for event in self.of("completed")]

    def of(self, end: str) -> list[Any]:
        return [event for event in self.heard if event.type == f"{TRANSCRIPTION}.{end}"]

    def types(self) -> list[str]:
        return [event.type for event in self.heard]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextmanager
def session(server: Server, **query: str) -> Iterator[Session]:
    with (
        OpenAI(api_key=KEY, base_url=f"{server.url}/v1", max_retries=0) as client,
        client.realtime.connect(
            extra_query={"intent": "transcription", **query},
            websocket_connection_options={"open_timeout": PATIENCE, "proxy": None},
        ) as connection,
    ):
        yield Session(connection)


def test_a_session_begins_with_its_settings_and_changes_those_that_are_named(server: Server) -> None:
    with session(server, model="gpt-4o-transcribe") as talk:
        created = talk.next()
        assert created.type == "session.created"
        told = created.session.to_dict()
        assert (told["type"], told["object"]) == ("transcription", "realtime.transcription_session")
        assert told["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert told["audio"]["input"]["transcription"] == {"model": "stt-digits-en"}
        assert told["audio"]["input"]["turn_detection"]["type"] == "server_vad"
        wish = {"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 300}
        changed = talk.update(turn_detection=wish).session.to_dict()["audio"]["input"]
        assert changed["turn_detection"] == {**wish, "prefix_padding_ms": 300}
        again = talk.update(transcription={"model": "gpt-4o-transcribe", "language": "en"}).session.to_dict()
        assert again["audio"]["input"]["turn_detection"] == changed["turn_detection"]
        assert again["audio"]["input"]["transcription"]["language"] == "en"


def test_a_commit_makes_an_item_and_every_word_before_it_is_told(server: Server, three_digits: Samples) -> None:
    with session(server) as talk:
        talk.update(turn_detection=None, include=["item.input_audio_transcription.logprobs"])
        talk.append(three_digits)
        talk.connection.input_audio_buffer.commit()
        talk.append(three_digits)
        talk.connection.input_audio_buffer.commit()
        assert talk.transcripts(2) == ["zero two zero"] * 2
        first, second = (event for event in talk.heard if event.type == "input_audio_buffer.committed")
        assert (first.previous_item_id, second.previous_item_id) == (None, first.item_id)
        added = talk.until("conversation.item.added")
        assert (added.item.id, added.item.role, added.item.content[0].type) == (first.item_id, "user", "input_audio")
        assert "conversation.item.done" in talk.types()
        for item, done in zip((first, second), talk.of("completed"), strict=True):
            deltas = [event for event in talk.of("delta") if event.item_id == item.item_id]
            assert "".join(event.delta for event in deltas) == done.transcript
            assert done.item_id == item.item_id
            assert [piece.token for event in deltas for piece in event.logprobs] == [p.token for p in done.logprobs]
            assert all(piece.logprob <= 0 for piece in done.logprobs)
            assert done.usage.seconds == pytest.approx(len(three_digits) / SECOND)
        assert len({event.event_id for event in talk.heard}) == len(talk.heard)


def test_words_come_before_the_commit(server: Server, digits: Samples) -> None:
    with session(server) as talk:
        talk.update(turn_detection=None)
        talk.append(digits)
        assert talk.until(f"{TRANSCRIPTION}.delta", 10).delta
        assert "input_audio_buffer.committed" not in talk.types()


@pytest.mark.parametrize("piece", [2_400, 24_000, 1_000_000])
def test_the_server_hears_by_loudness_when_speech_begins_and_stops(
    server: Server, three_digits: Samples, piece: int
) -> None:
    """However the audio is cut: a commit stands where silence has lasted, also in the midst of one message."""
    with session(server) as talk:
        talk.update(turn_detection={"type": "server_vad", "silence_duration_ms": 600, "prefix_padding_ms": 100})
        talk.append(np.concatenate([three_digits, PAUSE, three_digits, PAUSE]), piece)
        assert talk.transcripts(2) == ["zero two zero"] * 2
    begins = [event for event in talk.heard if event.type == "input_audio_buffer.speech_started"]
    stops = [event for event in talk.heard if event.type == "input_audio_buffer.speech_stopped"]
    items = [event.item_id for event in talk.heard if event.type == "input_audio_buffer.committed"]
    assert [event.item_id for event in begins] == [event.item_id for event in stops] == items
    offset = 1000 * (len(three_digits) + len(PAUSE)) // SECOND
    assert begins[1].audio_start_ms - begins[0].audio_start_ms == pytest.approx(offset, abs=80)
    assert all(0 < stop.audio_end_ms - begin.audio_start_ms < 4_000 for begin, stop in zip(begins, stops, strict=True))


@pytest.mark.parametrize("eagerness", ["high", "low"])
def test_the_model_hears_by_its_pause_heads_when_a_turn_ends(
    server: Server, three_digits: Samples, eagerness: str
) -> None:
    long_pause = np.zeros(6 * SECOND, np.float32)
    with session(server) as talk:
        talk.update(turn_detection={"type": "semantic_vad", "eagerness": eagerness})
        talk.append(np.concatenate([three_digits, long_pause, three_digits, long_pause]))
        heard = talk.transcripts(2)
        assert " ".join(heard) == "zero two zero zero two zero"
        types = talk.types()
        assert types.index("input_audio_buffer.speech_started") < types.index("input_audio_buffer.speech_stopped")
        assert types.index("input_audio_buffer.committed") < types.index(f"{TRANSCRIPTION}.completed")
        starts = [event.audio_start_ms for event in talk.heard if event.type == "input_audio_buffer.speech_started"]
        assert starts[0] == 880


def test_a_cleared_buffer_is_not_transcribed(server: Server, three_digits: Samples) -> None:
    with session(server) as talk:
        talk.update(turn_detection=None)
        talk.append(three_digits)
        talk.connection.input_audio_buffer.clear()
        talk.append(three_digits[: 20 * 1920])
        talk.append(np.zeros(SECOND, np.float32))
        talk.connection.input_audio_buffer.commit()
        assert talk.transcripts(1) == ["zero two"]
        assert "input_audio_buffer.cleared" in talk.types()


def test_g711_is_heard(server: Server, three_digits: Samples) -> None:
    import soxr

    low = soxr.resample(three_digits, 24_000, 8_000)
    codes = np.abs(low[:, None] - _MULAW[None]).argmin(1).astype(np.uint8)
    with session(server) as talk:
        talk.update(turn_detection=None, format={"type": "audio/pcmu"})
        talk.connection.input_audio_buffer.append(audio=encoded(codes.tobytes()))
        talk.connection.input_audio_buffer.commit()
        assert talk.transcripts(1) == ["zero two zero"]


@pytest.mark.parametrize(
    ("event", "param", "code"),
    [
        ({"type": "response.create"}, "type", "invalid_value"),
        ({"type": "transcription_session.update", "session": {}}, "type", "invalid_value"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type", "unsupported_value"),
        ({"type": "input_audio_buffer.append", "audio": "%%"}, "audio", "invalid_value"),
        ({"type": "input_audio_buffer.commit"}, None, "invalid_request"),
    ],
)
def test_what_cannot_be_done_is_an_error_that_names_the_event_and_the_session_goes_on(
    server: Server, event: dict[str, Any], param: str | None, code: str
) -> None:
    with session(server) as talk:
        talk.connection.send({**event, "event_id": "mine"})  # type: ignore[misc, arg-type]
        error = talk.until("error").error
        assert (error.event_id, error.param, error.code) == ("mine", param, code)
        assert talk.update(turn_detection=None).type == "session.updated"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"noise_reduction": {"type": "near_field"}}, "noise_reduction"),
        ({"transcription": {"prompt": "digits"}}, "transcription.prompt"),
        ({"transcription": {"keywords": ["Kyutai"]}}, "transcription.keywords"),
        ({"transcription": {"language": "fr"}}, "transcription.language"),
        ({"transcription": {"delay": "low"}}, "transcription.delay"),
        ({"transcription": {"model": "nova-3"}}, "transcription.model"),
        ({"transcription": None}, "transcription"),
        ({"turn_detection": {"type": "server_vad", "threshold": 2}}, "turn_detection.threshold"),
        ({"turn_detection": {"type": "server_vad", "create_response": True}}, "turn_detection.create_response"),
        ({"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}, "turn_detection.idle_timeout_ms"),
        ({"turn_detection": {"type": "semantic_vad", "patience": 1}}, "turn_detection.patience"),
        ({"format": {"type": "audio/pcm", "rate": 16000}}, "format.rate"),
    ],
)
def test_a_setting_that_cannot_be_had_is_refused_and_changes_nothing(
    server: Server, changes: dict[str, Any], param: str
) -> None:
    with session(server) as talk:
        before = talk.next().session
        refused = talk.update(**changes)
        assert refused.type == "error"
        assert refused.error.param == f"session.audio.input.{param}"
        assert talk.update().session.to_dict() == before.to_dict()


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("[" * 20_000, "the message is not JSON"),
        ('{"type":"session.update","session":' + "[" * 20_000, "the message is not JSON"),
        ('{"x":1,"y":' + "[" * 20_000, "the message is not JSON"),
        ("[1]", "a message is an object with a type"),
        ("{}", "a message is an object with a type"),
        ('{"type":"sing"}', "unknown type 'sing'"),
    ],
    ids=lambda value: value[:24],
)
def test_what_is_no_message_is_an_error_and_the_session_goes_on(server: Server, message: str, why: str) -> None:
    with connect(address(server), additional_headers=AUTHORISED, proxy=None, open_timeout=PATIENCE) as socket:
        socket.recv(PATIENCE)
        socket.send(message)
        assert why in json.loads(socket.recv(PATIENCE))["error"]["message"]
        socket.send('{"type":"input_audio_buffer.clear"}')
        assert json.loads(socket.recv(PATIENCE))["type"] == "input_audio_buffer.cleared"


def test_twenty_bad_messages_in_a_row_end_the_session(server: Server) -> None:
    with session(server) as talk:
        for _ in range(20):
            talk.connection.send({"type": "nonsense"})  # type: ignore[misc, arg-type, typeddict-item]
        with pytest.raises(ConnectionClosed) as ended:
            talk.until("never")
        assert ended.value.rcvd
        assert ended.value.rcvd.code == 4003
        assert talk.heard[-1].error.message.startswith("20 bad messages in a row")


def address(server: Server, query: str = "") -> str:
    return f"ws{server.url.removeprefix('http')}/v1/realtime?{query}"


def test_a_browser_gives_the_key_as_a_subprotocol(server: Server) -> None:
    offered = ["realtime", f"openai-insecure-api-key.{KEY}"]
    with connect(address(server), subprotocols=offered, proxy=None, open_timeout=PATIENCE) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "realtime"
        assert "session.created" in str(socket.recv(PATIENCE))


@pytest.mark.parametrize(
    ("query", "headers", "protocols", "status", "code"),
    [
        ("", {}, ["realtime", "openai-insecure-api-key.wrong"], 401, "invalid_api_key"),
        ("", {"Authorization": "Bearer wrong"}, None, 401, "invalid_api_key"),
        ("", {"Authorization": f"Bearer {KEY}", "OpenAI-Beta": "realtime=v1"}, None, 400, "invalid_value"),
        ("model=nova-3", {"Authorization": f"Bearer {KEY}"}, None, 404, "model_not_found"),
        ("intent=chat", {"Authorization": f"Bearer {KEY}"}, None, 400, "invalid_value"),
        ("speed=2", {"Authorization": f"Bearer {KEY}"}, None, 400, "invalid_value"),
    ],
)
def test_who_may_not_come_in_is_told_before_the_upgrade(
    server: Server, query: str, headers: dict[str, str], protocols: Any, status: int, code: str
) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(address(server, query), additional_headers=headers, subprotocols=protocols, proxy=None),
    ):
        pass
    assert refused.value.response.status_code == status
    assert f'"code":"{code}"' in refused.value.response.body.decode()


def test_when_every_slot_is_taken_the_handshake_is_refused_with_a_time(server: Server) -> None:
    with session(server) as one, session(server) as two:
        one.next(), two.next()
        with pytest.raises(InvalidStatus) as refused, session(server):
            pass
    assert refused.value.response.status_code == 503
    assert "Retry-After" in refused.value.response.headers
    assert b'"code":"no_free_slot"' in refused.value.response.body


def test_kill_9_of_the_engine_costs_no_word(server: Server, digits: Samples) -> None:
    with session(server) as talk:
        talk.update(turn_detection=None)
        talk.append(digits[: 6 * SECOND])
        talk.until(f"{TRANSCRIPTION}.delta", 3)
        (engine,) = server.get("/api/status").json()["engines"]
        os.kill(engine["pid"], signal.SIGKILL)
        talk.append(digits[6 * SECOND :])
        talk.connection.input_audio_buffer.commit()
        assert talk.transcripts(1) == [SAID]
        assert len(talk.of("delta")) >= len(WORDS)
    assert server.get("/api/status").json()["engines"][0]["restarts"] >= 1
