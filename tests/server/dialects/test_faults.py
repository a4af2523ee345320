"""What goes wrong, and what the client is told: one test for each reason to refuse or end a stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from vivavoce.checkpoints import save_stt
from vivavoce.runtime import EngineSpec, Metrics, Runtime
from vivavoce.server.app import create_app
from vivavoce.settings import ServeSettings

from ...conftest import MakeModel
from ..asgi import serving
from ..process import Server, fetch
from .dialogue import FRAME, KEY, PATIENCE, Samples, moshi, stream, types, words

SILENCE = np.zeros(FRAME, np.float32)
SECRET = "a secret of the account service that is long enough"


# --- a server that has not loaded its model: everything that is decided before there is one ---


@pytest.fixture(scope="module")
def loading() -> Iterator[str]:
    with unloaded(ServeSettings(port=0, tts_model="none")) as address:
        yield address


@pytest.fixture(scope="module")
def tokens() -> Iterator[str]:
    with unloaded(ServeSettings(port=0, tts_model="none", jwt_secret=SECRET)) as address:
        yield address


def unloaded(settings: ServeSettings):  # type: ignore[no-untyped-def]
    metrics = Metrics()
    runtime = Runtime(EngineSpec(slots=1), settings.limits, metrics)
    return serving(create_app(settings, {"stt": runtime}, metrics), settings)


def test_while_the_model_loads_moshi_clients_are_told_so_after_the_upgrade(loading: str) -> None:
    with moshi(f"http://{loading}") as client:
        assert client.next() == {"type": "Error", "message": "the model is loading"}
        assert client.close_code() == (4005, "the model is loading")


def test_while_the_model_loads_others_are_told_so_before_it(loading: str) -> None:
    with pytest.raises(InvalidStatus) as refused, stream(f"http://{loading}"):
        pass
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) >= 1
    answer = fetch(f"http://{loading}/v1/transcribe", body=b"RIFF")
    assert answer.status == 400  # the file is looked at first


def test_where_tokens_are_taken_moshi_clients_are_turned_away_after_the_upgrade(tokens: str) -> None:
    with moshi(f"http://{tokens}", headers={"Authorization": "Bearer x.y.z"}) as client:
        assert client.close_code() == (4001, "Authentication failed")
    answer = fetch(f"http://{tokens}/api/asr-streaming", {"Authorization": "Bearer x.y.z"}, b"RIFF")
    assert answer.status == 401
    assert answer.json()["code"] == "jwt_validation_failed"


def test_a_page_from_elsewhere_is_refused_before_the_upgrade(loading: str) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        moshi(f"http://{loading}", headers={"Origin": "https://evil.example"}),
    ):
        pass
    assert refused.value.response.status_code == 403


# --- a server with tight limits, and a model without VAD heads ---


@pytest.fixture(scope="module")
def tight(make_model: MakeModel, tokenizer: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("headless")
    save_stt(make_model(lm={"extra_heads": 0}), folder, tokenizer=tokenizer)
    limits = {
        "idle_seconds": 2, "ping_seconds": 0.5, "message_bytes": 100_000, "messages_per_second": 20,
        "upload_bytes": 200_000, "slots": 1, "send_seconds": 1, "event_backlog": 50,
    }  # fmt: skip
    flags = [text for name, value in limits.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    with Server(*flags, "--model", str(folder), "--no-auth") as server:
        server.wait_ready()
        yield server.url


def test_a_model_without_vad_heads_tells_every_step_and_claims_no_pause(tight: str) -> None:
    """So that clients which count Steps, or read the third of four probabilities, work with it."""
    with moshi(tight) as client:
        for _ in range(5):
            client.audio(SILENCE)
        steps = [message for message in client.steps(5) if message["type"] == "Step"]
        assert [step["step_idx"] for step in steps] == [1, 2, 3, 4, 5]
        assert {tuple(step["prs"]) for step in steps} == {(0, 0, 0, 0)}


def test_who_says_nothing_is_closed_and_told_why(tight: str) -> None:
    with stream(tight, "idle=1") as client:
        heard = client.until_type("error")
        assert "ping" in types(heard)
        assert heard[-1]["code"] == "client_timeout"
        assert "keepalive" in heard[-1]["hint"]
        assert client.close_code() == (4006, "neither audio nor keepalive for 1 s")
    with stream(tight) as client:  # what it sends is neither
        for _ in range(3):
            client.control("nonsense")
            client.until_type("error")
            threading.Event().wait(0.5)
        heard = client.until_type("error")
        assert heard[-1]["code"] == "client_timeout"
        assert "keepalive" in heard[-1]["hint"]
        assert client.close_code() == (4006, "neither audio nor keepalive for 2 s")
    with moshi(tight) as client:
        assert client.until_type("Error")[-1]["message"] == "no audio came for 2 s"
        assert client.close_code()[0] == 4006


@pytest.mark.parametrize("idle", [1, 2, 3], ids=["its own limit", "either", "the server's limit"])
def test_a_session_that_can_be_resumed_outlives_its_silence(tight: str, idle: int) -> None:
    with stream(tight, f"idle={idle}&resume=true") as client:
        session = client.until_type("ready")[-1]["session"]
        client.send(SILENCE.astype("<f4").tobytes())
        assert client.until_type("error")[-1]["code"] == "client_timeout"
        assert client.close_code() == (4006, f"neither audio nor keepalive for {min(idle, 2)} s")
    with stream(tight, f"idle={idle}&resume=true&session={session}") as client:
        assert client.until_type("ready")[-1]["samples"] == len(SILENCE)
        client.control("eos")
        assert client.until_type("end")[-1]["samples"] == len(SILENCE)


def test_keepalive_and_ping_keep_a_silent_stream(tight: str) -> None:
    with stream(tight) as client:
        for _ in range(8):  # of half a second each: longer than the limit together
            client.control("keepalive")
            client.until_type("ping")
        client.control("eos")
        assert client.until_type("end")
    with moshi(tight) as client:
        for _ in range(6):
            client.say("Ping")
            threading.Event().wait(0.5)
        client.audio(SILENCE)
        assert types(client.steps(1)) == ["Ready", "Step"]


def test_a_client_may_ask_for_less_patience_but_not_for_more(tight: str) -> None:
    with stream(tight, "idle=0.2") as client:
        assert client.close_code()[1] == "neither audio nor keepalive for 0.2 s"
    with stream(tight, "idle=3600") as client:
        assert client.close_code()[1].endswith("for 2 s")


def test_a_message_that_is_too_large_ends_the_stream(tight: str) -> None:
    with stream(tight) as client:
        client.send(bytes(100_001))
        assert client.close_code()[0] == 1009


def test_too_many_small_messages_end_the_stream(tight: str) -> None:
    with stream(tight) as client:
        for _ in range(230):
            client.control("keepalive")
        assert client.close_code()[0] == 4004


def test_an_upload_that_is_too_large_is_refused(tight: str) -> None:
    for path in ("/v1/transcribe", "/api/asr-streaming"):
        assert fetch(tight + path, body=bytes(200_001)).status == 413


def test_the_longest_session_ends_and_says_so() -> None:
    with Server("--slots", "1", "--session-seconds", "1", "--no-auth") as server:
        server.wait_ready()
        with stream(server.url) as client:
            assert client.until_type("error")[-1]["code"] == "session_timeout"
            assert client.close_code() == (4002, "the session has lasted 1 s, the longest there is")
        with moshi(server.url) as client:
            assert client.close_code()[0] == 4002


# --- moshi's bad messages, and waiting for a slot ---


def test_bad_messages_are_answered_until_there_are_twenty_in_a_row(url: str) -> None:
    with moshi(url) as client:
        for _ in range(19):
            client.send(b"\0")
        client.say("Audio", pcm=[])
        client.say("Audio", pcm=[float("nan")])
        client.say("OggOpus", data=b"no page")
        heard = client.until(lambda message: "no page" in message.get("message", ""))
        assert types(heard) == ["Ready", *["Error"] * 21]
        assert "NaN" in heard[-2]["message"] or "nan" in heard[-2]["message"]
        for _ in range(18):
            client.send("text")
        code, reason = client.close_code()
        assert code == 4003
        assert reason.startswith("20 bad messages in a row; the last: this dialect has no text messages")


def test_init_begins_again_and_forgets(url: str, three_digits: Samples) -> None:
    with moshi(url) as client:
        client.audio(three_digits[: 20 * FRAME])
        client.steps(20)
        client.say("Marker", id=1)
        client.say("Init")
        assert client.until_type("Ready")[-1] == {"type": "Ready"}
        client.audio(three_digits)
        client.say("Marker", id=2)
        heard = client.until_type("Marker")
        assert heard[0]["step_idx"] == 1
        assert (heard[-1]["id"], words(heard)) == (2, ["zero", "two", "zero"])


def test_opus_of_any_length_is_one_stream_whatever_the_messages(url: str, three_digits: Samples) -> None:
    from .test_stream import opus

    data = opus(three_digits)
    for size in (97, 2_000, len(data)):
        with moshi(url) as client:
            for start in range(0, len(data), size):
                client.say("OggOpus", data=list(data[start : start + size]))
            client.say("Marker", id=1)
            assert words(client.until_type("Marker")) == ["zero", "two", "zero"]


def test_ready_comes_from_admission_also_while_the_engine_is_busy(url: str, digits: Samples) -> None:
    with moshi(url) as busy, moshi(url) as other:
        for client in (busy, other):
            for _ in range(10):
                client.audio(digits[: 9 * 24_000])
        with moshi(url) as late:
            assert late.next() == {"type": "Ready"}
            late.socket.close()
        assert late.socket.close_code == 1000  # Close is answered


def test_a_request_waits_for_a_slot(url: str, digits: Samples) -> None:
    from ...example import EXAMPLE

    answers = []
    with stream(url) as one, stream(url) as two, stream(url) as three:
        for client in (one, two, three):
            client.next()
        asking = threading.Thread(
            target=lambda: answers.append(fetch(url + "/v1/transcribe", {"kyutai-api-key": KEY}, EXAMPLE.read_bytes()))
        )
        asking.start()
        asking.join(1)
        assert not answers
        one.socket.close()
        asking.join(PATIENCE)
    assert answers[0].status == 200
