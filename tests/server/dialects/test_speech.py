"""Text to speech over the wire, by the real server with a small random model: what each client sends, and what it gets
(spec/moshi-server.md §6 and §9)."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import time
import urllib.parse
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import sphn
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vivavoce.checkpoints.voice_file import read_voice

from ...speech_folder import SUFFIX, VOICES
from ...speech_folder import speaking_folder as speaking_folder
from ..process import Answer, Server, fetch
from .dialogue import KEY, PATIENCE, Samples, Talk, _connected

PATH = "/api/tts_streaming"
TEXT = "viva voce by the living voice"
READY = bytes.fromhex("81a474797065a55265616479")
SLOTS = 3


@pytest.fixture(scope="module")
def server(speaking_folder: Path) -> Iterator[Server]:
    """Three slots of text to speech and none of speech to text, behind a key."""
    flags = ("--model", "none", "--tts-model", str(speaking_folder), "--tts-slots", str(SLOTS))
    with Server(*flags, "--api-keys", KEY, "--threads", "1", "--load-limit", "0") as server:
        server.wait_ready()
        yield server


class Speaking(Talk):
    """Sends text, collects what is said until the server closes."""

    def say(self, type: str, **fields: object) -> None:
        self.send(msgpack.packb({"type": type, **fields}, use_single_float=True))

    def rest(self) -> list[bytes]:
        """All that comes before the close, which is without a code."""
        heard: list[bytes] = []
        with suppress(ConnectionClosed):
            while True:
                heard.append(self.next_raw())
        closed = self.socket.protocol.close_rcvd
        assert closed, "the connection was cut without a close frame"
        assert (closed.code, closed.reason) == (1005, "")
        return heard

    def messages(self) -> list[dict[str, Any]]:
        return [msgpack.unpackb(message) for message in self.rest()]


@contextmanager
def speaking(server: Server, query: str = "format=PcmMessagePack", path: str = PATH) -> Iterator[Speaking]:
    with _connected(server.url, f"{path}?{query}", None) as socket:
        yield Speaking(socket)


def pcm(messages: list[dict[str, Any]]) -> Samples:
    return np.array([sample for m in messages if m["type"] == "Audio" for sample in m["pcm"]], np.float32)


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [m["text"] for m in messages if m["type"] == "Text"]


def spoken(server: Server, text: str = TEXT, query: str = "") -> Samples:
    with speaking(server, f"format=PcmMessagePack&{query}") as client:
        client.say("Text", text=text)
        client.say("Eos")
        return pcm(client.messages())


def post(server: Server, body: object, path: str = "/api/tts", **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return fetch(server.url + path, {"kyutai-api-key": KEY, "content-type": "application/json", **headers}, data)


@pytest.fixture(scope="module")
def said(server: Server) -> Samples:
    """What TEXT sounds like."""
    return spoken(server)


# --- clients that exist ---


def test_the_dsm_client_sends_word_by_word_and_gets_frames_of_1920(server: Server, said: Samples) -> None:
    with speaking(server) as client:
        for word in TEXT.split():
            client.say("Text", text=word)
        client.say("Eos")
        client.say("Text", text="")  # a late sign of life
        messages = client.messages()
    assert messages[0] == {"type": "Ready"}
    assert texts(messages) == TEXT.split()
    assert {len(m["pcm"]) for m in messages if m["type"] == "Audio"} == {1920}
    np.testing.assert_allclose(pcm(messages), said, atol=1e-4)
    assert np.abs(said).max() <= 0.99


def test_unmute_is_ready_at_once_and_hears_words_no_later_than_their_audio(server: Server) -> None:
    """It gives up a server that is not ready within half a second, and raises for types that it does not know."""
    with speaking(server, "format=PcmMessagePack&voice=ada.wav&cfg_alpha=1.5") as client:
        assert client.next_raw() == READY
        for word in TEXT.split():
            client.say("Text", text=word)
        client.say("Eos")
        messages = client.messages()
    assert {m["type"] for m in messages} == {"Text", "Audio"}
    heard = 0.0
    for message in messages:
        if message["type"] == "Audio":
            heard += 0.08
        else:
            assert heard < message["stop_s"] + 0.01
    starts = [m["start_s"] for m in messages if m["type"] == "Text"]
    assert starts == sorted(starts)


def test_unmutes_own_voices_come_as_the_first_message(server: Server, speaking_folder: Path) -> None:
    """The blob of the voice-cloning service, before Ready is read."""
    vectors = read_voice(speaking_folder / "voices" / f"{VOICES[1]}{SUFFIX}", 5, 12)
    with speaking(server) as client:
        client.say("Voice", embeddings=vectors.T.ravel().tolist(), shape=[1, 12, 5])
        client.say("Text", text=TEXT)
        client.say("Eos")
        np.testing.assert_allclose(pcm(client.messages()), spoken(server, query=f"voice={VOICES[1]}"), atol=1e-4)


def test_the_maintenance_script_sends_plain_text_and_a_zero_byte_for_ogg(server: Server, said: Samples) -> None:
    with speaking(server, "") as client:
        for word in TEXT.split():
            client.send(word)
        client.send(b"\x00")
        pages = client.rest()
    assert pages[0].count(b"OggS") == 2
    assert b"OpusHead" in pages[0]
    assert all(page.count(b"OggS") == 2 and page.startswith(b"OggS") for page in pages[1:])
    reader = sphn.OpusStreamReader(24_000)
    decoded = np.concatenate([reader.append_bytes(page) for page in pages])
    assert len(said) - 3_840 <= len(decoded) <= len(said)
    assert decoded.std() == pytest.approx(said.std(), rel=0.5)


def test_the_forks_client_gets_raw_pcm(server: Server, said: Samples) -> None:
    with speaking(server, "format=Pcm&seed=0") as client:
        client.send(TEXT)
        client.send(b"\x00")
        frames = client.rest()
    assert {len(frame) for frame in frames} == {7680}
    np.testing.assert_allclose(np.frombuffer(b"".join(frames), "<f4"), said, atol=1e-4)


def test_ogg_in_messagepack_has_ready_and_words(server: Server) -> None:
    with speaking(server, "format=OggOpusMessagePack") as client:
        client.send(TEXT)
        client.say("Eos")
        messages = client.messages()
    assert [m["type"] for m in messages[:2]] == ["Ready", "OggOpus"]
    assert texts(messages) == TEXT.split()
    assert all(bytes(m["data"]).startswith(b"OggS") for m in messages if m["type"] == "OggOpus")


@pytest.mark.parametrize("path", [PATH, f"{PATH}_streaming"])
def test_the_paths_that_shipped_files_lead_to(server: Server, path: str) -> None:
    with speaking(server, path=path) as client:
        assert client.next_raw() == READY


# --- texts of every kind ---


def test_eos_alone_is_closed_without_audio(server: Server) -> None:
    with speaking(server) as client:
        client.say("Eos")
        assert client.messages() == [{"type": "Ready"}]
    with speaking(server, "format=Pcm") as client:
        client.send(b"\x00")
        assert client.rest() == []


@pytest.mark.parametrize("text", ["voice", "?!…", "日本語", '<break time="0.2s"/>', " \n "])
def test_short_and_strange_texts_are_answered(server: Server, text: str) -> None:
    with speaking(server) as client:
        client.say("Text", text=text)
        client.say("Eos")
        messages = client.messages()
    assert texts(messages) == ([text] if text in ("voice", "?!…", "日本語") else [])
    assert bool(len(pcm(messages))) == bool(text.strip())


def test_slow_text_is_spoken_as_it_comes(server: Server, said: Samples) -> None:
    with speaking(server) as client:
        for word in TEXT.split():
            client.say("Text", text=word)
            time.sleep(0.3)
        client.say("Eos")
        np.testing.assert_allclose(pcm(client.messages()), said, atol=1e-4)


def test_ten_thousand_words_in_single_messages_are_no_flood(server: Server, said: Samples) -> None:
    """They are read as they are spoken; nobody else notices, and the client may leave in the middle."""
    with speaking(server, "format=Pcm") as client:
        client.socket.socket.settimeout(None)
        for _ in range(3_000):  # what fits into the sockets' buffers; the server has taken a thousand
            client.say("Text", text="voice")
        client.next_raw()
        np.testing.assert_allclose(spoken(server), said, atol=1e-4)
        client.send(b"\x00")
        assert len(client.next_raw()) == 7680
    free(server)


def test_messages_without_words_are_counted(server: Server) -> None:
    with speaking(server) as client:
        with suppress(ConnectionClosed):  # it may come before the last one is sent
            for _ in range(2_300):
                client.say("Ping")
        assert client.close_code() == (4004, "more than 200 small messages a second")


# --- barge-in ---


def test_clear_is_answered_and_only_what_comes_next_follows(server: Server, said: Samples) -> None:
    with speaking(server) as client:
        client.say("Text", text="by the living " * 100)
        while msgpack.unpackb(client.next_raw())["type"] != "Audio":
            pass
        client.say("Clear")
        while msgpack.unpackb(client.next_raw())["type"] != "Clear":
            pass
        client.say("Text", text=TEXT)
        client.say("Eos")
        messages = client.messages()
    assert texts(messages) == TEXT.split()
    np.testing.assert_allclose(pcm(messages), said, atol=1e-4)


def test_clear_is_heard_before_ten_thousand_words_that_wait(server: Server) -> None:
    with speaking(server) as client:
        for _ in range(100):
            client.say("Text", text="voice " * 100)
        client.say("Flush", id=7)
        while msgpack.unpackb(client.next_raw())["type"] != "Audio":
            pass
        client.say("Clear")
        client.say("Text", text="by")
        client.say("Eos")
        messages = client.messages()
    kinds = [message["type"] for message in messages]
    assert messages[kinds.index("Flush")] == {"type": "Flush", "id": 7}
    at = kinds.index("Clear")
    assert kinds.index("Flush") < at
    assert texts(messages[at:]) == ["by"]
    assert len(texts(messages[:at])) < 1_000


def test_a_flush_is_echoed_when_all_before_it_was_spoken(server: Server, said: Samples) -> None:
    with speaking(server) as client:
        client.say("Flush", id=-5)
        for word in TEXT.split():
            client.say("Text", text=word)
        client.say("Flush", id=2**40)
        messages = [msgpack.unpackb(client.next_raw())]
        while messages[-1] != {"type": "Flush", "id": 2**40}:
            messages.append(msgpack.unpackb(client.next_raw()))
        assert messages[1] == {"type": "Flush", "id": -5}
        np.testing.assert_allclose(pcm(messages), said, atol=1e-4)
        client.say("Text", text=TEXT)
        client.say("Eos")
        np.testing.assert_allclose(pcm(client.messages()), said, atol=1e-4)


def test_a_byte_flushes_a_raw_stream(server: Server, said: Samples) -> None:
    with speaking(server, "format=Pcm") as client:
        client.send(TEXT)
        client.send(b"\x02")
        heard = b"".join(client.next_raw() for _ in range(len(said) // 1920))
        np.testing.assert_allclose(np.frombuffer(heard, "<f4"), said, atol=1e-4)
        client.send(b"\x00")
        assert client.rest() == []


def test_a_byte_clears_a_raw_stream(server: Server) -> None:
    with speaking(server, "format=Pcm") as client:
        client.send("by the living " * 100)
        client.next_raw()
        client.send(b"\x01")
        client.send(b"\x00")
        assert len(client.rest()) < 400  # what was on its way; all of it would be some 2,000 frames


# --- what was asked for ---


def test_seed_temperature_top_k_cfg_and_voice_are_heard(server: Server, said: Samples) -> None:
    queries = ["seed=1", "temperature=2", "top_k=2", "cfg_alpha=3", "voice=moods/sad.wav"]
    heard = [spoken(server, query=query).tobytes() for query in queries]
    assert len({*heard, said.tobytes()}) == 1 + len(queries)
    assert spoken(server, query="seed=1").tobytes() == heard[0]
    assert spoken(server, query="top_k=1&seed=3").tobytes() == spoken(server, query="temperature=0").tobytes()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("format=wav", "invalid_parameter"), ("seed=x", "invalid_parameter"), ("voices=a", "invalid_parameter"),
        ("voice=nobody", "unknown_voice"), ("voice=..%2F..%2Fetc%2Fpasswd", "unknown_voice"),
    ],
)  # fmt: skip
def test_impossible_wishes_are_refused_before_the_upgrade(server: Server, query: str, code: str) -> None:
    with pytest.raises(InvalidStatus) as refused, speaking(server, query):
        pass
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["code"] == code


def test_without_the_key_nobody_comes_in(server: Server) -> None:
    for headers, query in (({}, ""), ({"kyutai-api-key": "wrong"}, f"auth_id={KEY}")):
        with pytest.raises(InvalidStatus) as refused, _connected(server.url, f"{PATH}?{query}", headers):
            pass
        assert (refused.value.response.status_code, refused.value.response.body) == (401, b"")
    with _connected(server.url, f"{PATH}?auth_id={KEY}&format=PcmMessagePack", {}) as socket:
        assert Speaking(socket).next_raw() == READY
    assert fetch(f"{server.url}{PATH}").status == 400
    assert fetch(f"{server.url}/api/tts", {"content-type": "application/json"}, b"{}").status == 401
    assert fetch(f"{server.url}/api/tts/voices").status == 401


# --- faults ---


def test_bad_messages_are_answered_and_twenty_in_a_row_end_it(server: Server) -> None:
    with speaking(server) as client:
        assert client.next_raw() == READY
        for _ in range(19):
            client.send(b"\xc1")
            assert msgpack.unpackb(client.next_raw())["type"] == "Error"
        client.say("Text", text="voice")
        client.say("Voice", embeddings=[0.0] * 60, shape=[1, 12, 5])
        while (message := msgpack.unpackb(client.next_raw()))["type"] != "Error":
            pass
        assert message["message"] == "a voice must come before the first text"
        client.say("Eos")
        client.say("Text", text="late")
        while (message := msgpack.unpackb(client.next_raw()))["type"] != "Error":
            pass
        assert "no text is taken after end()" in message["message"]
        for _ in range(20):
            client.send(b"\xc1")
        assert client.close_code()[0] in (4003, 1005)  # it may have finished speaking first


def test_a_raw_stream_says_what_was_wrong_in_its_close_frame(server: Server) -> None:
    with speaking(server, "format=Pcm") as client:
        client.send(b"\xc1")
        assert client.close_code() == (4003, "a message is a MessagePack map, this one starts with the byte 0xc1")


def test_a_full_server_says_so_as_moshi_server_does_and_post_waits(server: Server, said: Samples) -> None:
    with speaking(server) as one, speaking(server) as two, speaking(server) as three:
        for client in (one, two, three):
            assert client.next_raw() == READY
        with speaking(server) as late:
            assert msgpack.unpackb(late.next_raw()) == {"type": "Error", "message": "no free channels"}
            assert late.close_code()[0] == 4000
        with speaking(server, "format=Pcm") as late:
            assert late.close_code()[0] == 4000
        one.say("Eos")
        one.messages()
        assert post(server, {"text": "voice"}).status == 200
    free(server)


def test_a_client_that_leaves_in_mid_word_leaves_its_slot_and_hurts_nobody(server: Server, said: Samples) -> None:
    for _ in range(4):
        with speaking(server) as client:
            client.say("Text", text="by the living voice by the living")
            client.next_raw()
            client.socket.socket.close() if _ % 2 else None
    np.testing.assert_allclose(spoken(server), said, atol=1e-4)
    free(server)


def test_kill_9_of_the_engine_in_mid_sentence_is_not_heard(server: Server, said: Samples) -> None:
    with speaking(server) as client:
        client.say("Text", text=TEXT)
        while msgpack.unpackb(client.next_raw())["type"] != "Audio":
            pass
        first = 1920
        os.kill(status(server)["engines"][0]["pid"], signal.SIGKILL)
        client.say("Eos")
        messages = client.messages()
    np.testing.assert_allclose(pcm(messages), said[first:], atol=1e-4)
    assert status(server)["engines"][0]["restarts"] >= 1


def status(server: Server) -> Any:
    return server.get("/api/status").json()


def free(server: Server) -> None:
    deadline = time.monotonic() + PATIENCE
    while status(server)["capacity"]["used_slots"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- POST ---


def test_post_streams_a_wav_of_unknown_length(server: Server, said: Samples) -> None:
    for path in ("/api/tts", PATH):
        answer = post(server, {"text": TEXT, "voice": "ada.wav"}, path)
        assert (answer.status, answer.headers["content-type"]) == (200, "audio/wav")
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.body[4:8] == answer.body[40:44] == b"\xff\xff\xff\xff"
        assert len(answer.body) == 44 + 2 * len(said)
        samples = np.frombuffer(answer.body[44:], "<i2") / 32_767
        np.testing.assert_allclose(samples, said, atol=1e-3)


def test_post_of_turns_has_a_right_header_and_with_timestamps_a_transcript(server: Server, said: Samples) -> None:
    wishes = {"seed": 0, "temperature": 0.6, "top_k": 250, "cfg_alpha": 2.0, "voices": ["ada.wav", "moods/sad.wav"]}
    answer = post(server, {"text": ["viva voce", "by the living voice"], **wishes})
    with wave.open(io.BytesIO(answer.body)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert file.getnframes() == (len(answer.body) - 44) // 2 > 1920
    told = post(server, {"text": TEXT, "return_timestamps": True}).json()
    assert [word["text"] for word in told["transcript"]] == TEXT.split()
    assert all(word["start_s"] < word["stop_s"] for word in told["transcript"])
    assert len(base64.b64decode(told["wav"])) == 44 + 2 * len(said)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"[]", 422), ({}, 422), ({"text": 3}, 422), ({"text": ["a", 3]}, 422),
        ({"text": "a", "seed": "x"}, 422), ({"text": "a", "seed": -1}, 400), ({"text": "a", "voice": "nobody"}, 400),
        ({"text": "a", "voices": ["ada.wav"] * 3}, 400), ({"text": "a", "top_k": True}, 422),
        ({"text": "a", "cfg_alpha": -1}, 400),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused(server: Server, body: object, status: int) -> None:
    answer = post(server, body)
    assert answer.status == status
    assert {"code", "message"} <= answer.json().keys()


def test_a_text_has_the_limit_of_a_message(server: Server) -> None:
    answer = post(server, b" " * (16 * 2**20 + 1))
    assert (answer.status, answer.json()["code"]) == (413, "too_large")


def test_post_wants_json_and_says_so(server: Server) -> None:
    assert fetch(f"{server.url}/api/tts", {"kyutai-api-key": KEY}, b'{"text":"a"}').status == 415
    assert post(server, {"text": ""}).body[:4] == b"RIFF"


# --- beside it ---


def test_voices_are_listed(server: Server) -> None:
    answer = fetch(f"{server.url}/api/tts/voices", {"kyutai-api-key": KEY})
    assert answer.json() == {"voices": [*VOICES], "default": "ada.wav"}
    assert urllib.parse.quote(answer.json()["voices"][1], safe="") == "moods%2Fhappy.wav"


def test_the_server_gives_account_of_it(server: Server) -> None:
    (module,) = server.get("/api/modules_info").json()
    assert (module["type"], module["path"], module["total_slots"]) == ("py", PATH, str(SLOTS))
    assert status(server)["capacity"]["modules"][0]["module_type"] == "py"
    assert server.get(f"{PATH}/health").status == 200
    metrics = server.get("/metrics").body.decode()
    assert 'vivavoce_first_audio_seconds_count{module="tts"}' in metrics
    assert "3 voices, voice 0.48 s behind the text" in server.text
    assert "Stream opened: tts, speech, key 1" in server.text
    assert "living" not in server.text.split("Ready after")[1]  # what people say is nobody's business
