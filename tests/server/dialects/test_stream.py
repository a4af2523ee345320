"""/v1/stream as docs/protocols.md tells it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soxr
import sphn
from websockets.exceptions import InvalidStatus

from ..process import fetch
from .dialogue import FRAME, KEY, Samples, stream, types, words


def raw(samples: Samples) -> bytes:
    return samples.astype("<f4").tobytes()


def text(heard: list[dict[str, object]]) -> str:
    return "".join(str(message["text"]) for message in heard if message["type"] == "token")


def test_tokens_concatenate_to_the_text_and_words_have_times(url: str, digits: Samples, said: list[str]) -> None:
    with stream(url, "words=true") as client:
        ready = client.next()
        assert ready == {
            "type": "ready", "session": ready["session"], "model": "stt-digits-en", "sample_rate": 24_000,
            "samples": 0, "flushes": 0, "ended": False,
        }  # fmt: skip
        client.send(raw(digits))
        client.control("eos")
        heard = client.until_type("end")
        assert client.close_code() == (1000, "")
    assert text(heard) == " ".join(said)
    assert words(heard) == [message["text"] for message in heard if message["type"] == "word_start"] == said
    assert next(m for m in heard if m["type"] == "word").keys() == {"type", "text", "start", "stop", "confidence"}
    assert heard[-1] == {"type": "end", "samples": len(digits)}


def test_without_being_asked_it_tells_tokens_and_turns_only(url: str, digits: Samples) -> None:
    with stream(url) as client:
        client.send(raw(np.concatenate([digits[:140_000], np.zeros(48_000, np.float32)])))
        client.control("eos")
        assert set(types(client.until_type("end"))) == {"ready", "token", "vad_start", "vad_end", "end"}


def test_no_cut_changes_a_word_not_even_within_a_sample(url: str, three_digits: Samples) -> None:
    told = []
    for size in (len(raw(three_digits)), 7_681, 10_007):
        with stream(url, "words=true") as client:
            data = raw(three_digits)
            for start in range(0, len(data), size):
                client.send(data[start : start + size])
            client.control("eos")
            told.append([m for m in client.until_type("end") if m["type"] != "ready"])
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("form", ["pcm_s16le", "pcm_f32le", "opus"])
def test_other_formats_and_rates_give_the_same_words(url: str, three_digits: Samples, form: str) -> None:
    low = soxr.resample(three_digits, 24_000, 16_000)
    query, data = {
        "pcm_s16le": ("&sample_rate=16000", (low * 32_767).astype("<i2").tobytes()),
        "pcm_f32le": ("&sample_rate=16000", raw(low)),
        "opus": ("", opus(three_digits)),
    }[form]
    with stream(url, f"words=true&format={form}{query}") as client:
        for start in range(0, len(data), 1_001):
            client.send(data[start : start + 1_001])
        client.control("eos")
        assert words(client.until_type("end")) == ["zero", "two", "zero"]


def test_a_flush_is_answered_behind_the_last_word_with_its_own_id(url: str, three_digits: Samples) -> None:
    with stream(url, "words=true") as client:
        client.send(raw(three_digits))
        client.control("flush", id="one")
        client.control("flush", id=-7)
        client.control("flush")
        heard = client.until_type("flushed")
        assert words(heard) == ["zero", "two", "zero"]
        ids = [heard[-1]["id"], client.until_type("flushed")[-1]["id"], client.until_type("flushed")[-1]["id"]]
        assert ids == ["one", -7, 0]
        client.send(raw(three_digits))
        client.control("flush", id="two")
        assert words(client.until_type("flushed")) == ["zero", "two", "zero"]


@pytest.mark.parametrize("end", ["EOS", b"EOS", '{"type":"eos"}'])
def test_every_way_to_end_gives_the_last_words_and_closes(url: str, three_digits: Samples, end: str | bytes) -> None:
    with stream(url, "words=true") as client:
        client.send(raw(three_digits))
        client.send(end)
        assert words(client.until_type("end")) == ["zero", "two", "zero"]
        assert client.close_code() == (1000, "")


def test_with_vad_every_frame_is_told(url: str, three_digits: Samples) -> None:
    with stream(url, "vad=true&vad_head=0&vad_threshold=0.9") as client:
        client.send(raw(three_digits))
        client.control("eos")
        heard = client.until_type("end")
    vad = [message for message in heard if message["type"] == "vad"]
    assert [message["time"] for message in vad[:27]] == [round(0.08 * frame, 5) for frame in range(1, 28)]
    assert all(len(message["pauses"]) == 4 for message in vad)


BAD = {
    '{"type":"flush","id":1.5}': "the id of a flush must be",
    '{"type":"flush","id":null}': "the id of a flush must be",
    '{"type":"sing"}': 'unknown type "sing"',
    "[]": "must be a JSON object",
    "{": "must be a JSON object",
    "hello": "must be a JSON object",
    "x" * 5_000: "a control of 5000 characters",
    b"\xff\xff\xff\x7f": "16-bit integers are sent with ?format=pcm_s16le",
}


@pytest.mark.parametrize("message", BAD, ids=lambda value: repr(value)[:20])
def test_a_bad_message_is_answered_and_the_stream_lives(url: str, three_digits: Samples, message: str | bytes) -> None:
    with stream(url, "words=true") as client:
        client.send(message)
        error = client.until_type("error")[-1]
        assert error["code"] == "invalid_message"
        assert BAD[message] in error["message"]
        client.send(raw(three_digits))
        client.control("eos")
        assert words(client.until_type("end")) == ["zero", "two", "zero"]


def test_twenty_bad_messages_in_a_row_end_it(url: str) -> None:
    with stream(url) as client:
        for _ in range(19):
            client.send("no")
        client.control("keepalive")
        for _ in range(20):
            client.send("no")
        code, reason = client.close_code()
        assert code == 4003
        assert reason.startswith("20 bad messages in a row")


def test_audio_behind_the_end_is_refused_by_name(url: str) -> None:
    with stream(url) as client:
        client.control("eos")
        client.send(bytes(4))
        heard = client.until_type("end")
        assert "error" not in types(heard) or "after eos" in heard[-2]["message"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("wrods=true", 400, "invalid_parameter"),
        ("format=mp3", 400, "invalid_parameter"),
        ("vad_head=9", 400, "unsupported"),
        ("resume=true&session=nobody", 404, "unknown_session"),
    ],
)
def test_what_cannot_be_is_refused_before_the_upgrade(url: str, query: str, status: int, code: str) -> None:
    with pytest.raises(InvalidStatus) as refused, stream(url, query):
        pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["code"] == code


def test_without_a_key_it_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(InvalidStatus) as refused, stream(url, headers={}):
        pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["code"] == "missing_credentials"


def test_when_all_slots_are_taken_it_says_when_to_come_again(url: str) -> None:
    with stream(url) as one, stream(url) as two, stream(url) as three:
        assert [client.next()["type"] for client in (one, two, three)] == ["ready"] * 3
        with pytest.raises(InvalidStatus) as refused, stream(url):
            pass
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) >= 1
    assert json.loads(refused.value.response.body)["code"] == "capacity"


# --- coming back ---


def test_a_lost_connection_is_resumed_without_a_word_lost_or_repeated(
    url: str, digits: Samples, said: list[str]
) -> None:
    samples = digits
    with stream(url, "words=true&resume=true") as client:
        ready = client.next()
        client.send(raw(samples[:100_000]) + b"ab")  # the half sample is lost with the connection
        heard = [client.next()]
        while len(words(heard)) < 3:
            heard.append(client.next())
        client.socket.socket.close()  # without a word
        seen = max(message.get("seq", 0) for message in heard)
    with stream(url, f"words=true&resume=true&session={ready['session']}&seq={seen}") as client:
        again = client.next()
        assert again["session"] == ready["session"]
        assert again["samples"] == 100_000
        client.send(raw(samples[again["samples"] :]))
        client.control("eos")
        rest = client.until_type("end")
    assert words(heard) + words(rest) == said
    assert text(heard) + text(rest) == " ".join(said)
    numbers = [message["seq"] for message in heard + rest if "seq" in message]
    assert numbers == sorted(set(numbers))


def test_what_was_taken_is_acknowledged_and_flushes_are_counted(url: str, digits: Samples) -> None:
    with stream(url, "resume=true") as client:
        session = client.next()["session"]
        for start in range(0, 5 * 24_000, 12_000):
            client.send(raw(digits[start : start + 12_000]))
        client.control("flush", id="a")
        heard = client.until_type("flushed")
        acks = [message["samples"] for message in heard if message["type"] == "ack"]
        assert acks == sorted(acks)
        assert acks[-1] > 4 * 24_000
        client.socket.socket.close()
    with stream(url, f"resume=true&session={session}&seq={heard[-1]['seq']}") as client:
        ready = client.next()
        assert (ready["samples"], ready["flushes"], ready["ended"]) == (120_000, 1, False)


def test_a_session_may_be_taken_over_from_a_connection_that_still_stands(url: str, three_digits: Samples) -> None:
    with stream(url, "words=true&resume=true") as old:
        session = old.next()["session"]
        old.send(raw(three_digits))
        with stream(url, f"words=true&resume=true&session={session}&seq=0") as new:
            taken = new.next()["samples"]
            assert old.close_code() == (1000, "the session goes on elsewhere or was closed")
            new.send(raw(three_digits[taken:]))
            new.control("eos")
            assert words(new.until_type("end")) == ["zero", "two", "zero"]


def test_last_words_can_be_fetched_after_the_end(url: str, three_digits: Samples) -> None:
    with stream(url, "words=true&resume=true") as client:
        session = client.next()["session"]
        client.send(raw(three_digits))
        client.control("eos")
        client.until_type("end")
        client.socket.socket.close()  # without a close frame
    with stream(url, f"words=true&resume=true&session={session}&seq=0") as client:
        assert client.next()["ended"] is True
        assert words(client.until_type("end")) == ["zero", "two", "zero"]


def test_who_closes_on_purpose_does_not_come_back(url: str) -> None:
    with stream(url, "resume=true") as client:
        session = client.next()["session"]

    def come_back() -> None:
        for _ in range(20):  # whoever is as quick as the server's own end of the stream has it once more, and closes it
            with stream(url, f"resume=true&session={session}"):
                pass

    with pytest.raises(InvalidStatus) as refused:
        come_back()
    assert refused.value.response.status_code == 404


# --- one request ---


def test_a_recording_is_transcribed_in_one_request(url: str, said: list[str]) -> None:
    from ...example import EXAMPLE

    answer = fetch(url + "/v1/transcribe", {"kyutai-api-key": KEY}, EXAMPLE.read_bytes())
    heard = answer.json()
    assert answer.status == 200
    assert heard["text"].split() == said
    assert [word["text"] for word in heard["words"]] == said
    assert heard["words"][0]["start"] == 0.88
    assert heard["duration"] == 11.47


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (b"", {}, "the body is empty"),
        (b"no audio", {}, "not audio in any format known here"),
        (b"x", {"content-type": "multipart/form-data; boundary=x"}, "must be the audio file itself, not a form"),
    ],
)
def test_what_is_no_recording_is_refused_by_name(url: str, body: bytes, headers: dict[str, str], why: str) -> None:
    for path in ("/v1/transcribe", "/api/asr-streaming"):
        answer = fetch(url + path, {"kyutai-api-key": KEY, **headers}, body)
        assert answer.status == 400
        assert why in answer.json()["message"]


@pytest.mark.parametrize("query", ["words=true", "tempreature=0.5", "seed=1&lang=en"])
def test_a_parameter_that_a_recording_does_not_have_is_refused_by_name(url: str, query: str) -> None:
    from ...example import EXAMPLE

    answer = fetch(f"{url}/v1/transcribe?auth_id={KEY}&{query}", body=EXAMPLE.read_bytes())
    assert answer.status == 400
    assert answer.json()["code"] == "invalid_parameter"
    unknown = query.split("&")[-1].partition("=")[0]
    assert answer.json()["message"] == f"unknown parameter {unknown!r}"
    assert answer.json()["hint"] == "the parameters are temperature, seed, guard, keyterm"


def opus(samples: Samples) -> bytes:
    writer = sphn.OpusStreamWriter(24_000)
    return b"".join(writer.append_pcm(samples[start : start + FRAME]) for start in range(0, len(samples), FRAME))
