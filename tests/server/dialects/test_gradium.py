"""Gradium's protocol as its own client package speaks it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soxr
from gradium.client import GradiumClient
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from vivavoce import audio

from ...example import SAID, WORDS
from ..process import Server
from .dialogue import KEY, PATIENCE, Samples, Talk
from .golden import _opus

FRAME = 1920


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One slot for speech, so that requests on one socket must share it."""
    flags = ("--slots", "2", "--tts-model", "tts-digits-en", "--tts-slots", "1", "--idle-seconds", "20")
    with Server(*flags, "--api-keys", KEY, "--threads", "1", "--load-limit", "0") as server:
        server.wait_ready()
        yield server


def client_of(server: Server) -> GradiumClient:
    return GradiumClient(base_url=f"{server.url}/api/", api_key=KEY)


def pcm(samples: Samples) -> bytes:
    return np.round(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def pieces(data: bytes, size: int = 4_096) -> Any:
    async def generate() -> Any:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    return generate()


class Raw(Talk):
    """The protocol without a package between."""

    def say(self, type: str, **fields: object) -> None:
        self.send(json.dumps({"type": type, **fields}))

    def next(self) -> dict[str, Any]:
        return json.loads(self.next_raw())

    def until(self, type: str, **fields: object) -> list[dict[str, Any]]:
        heard = [self.next()]
        while heard[-1]["type"] != type or any(heard[-1].get(name) != value for name, value in fields.items()):
            heard.append(self.next())
        return heard


@contextmanager
def raw(server: Server, path: str, headers: dict[str, str] | None = None) -> Iterator[Raw]:
    address = f"ws{server.url.removeprefix('http')}/api/speech/{path}"
    given = {"x-api-key": KEY} if headers is None else headers
    with connect(address, additional_headers=given, proxy=None, max_size=None, compression=None) as socket:
        yield Raw(socket)


def words(heard: list[dict[str, Any]]) -> list[str]:
    return [message["text"] for message in heard if message["type"] == "text"]


# --- speech to text ---


def wav(samples: Samples) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(24_000)
        writer.writeframes(pcm(samples))
    return file.getvalue()


@pytest.mark.parametrize("format", ["pcm", "pcm_16000", "wav", "opus"])
def test_the_package_transcribes_every_format(server: Server, digits: Samples, format: str) -> None:
    data = {
        "pcm": lambda: pcm(digits),
        "pcm_16000": lambda: pcm(soxr.resample(digits, 24_000, 16_000)),
        "wav": lambda: wav(digits),
        "opus": lambda: _opus(digits[: len(digits) // FRAME * FRAME]),
    }[format]()
    setup: Any = {"model_name": "default", "input_format": format}
    heard = asyncio.run(client_of(server).stt(setup, pieces(data)))
    assert heard.text == SAID
    assert heard.request_id
    starts = [text.start_s for text in heard.text_with_timestamps]
    assert starts == sorted(starts) and 0.7 < starts[0] < 1.0


def test_every_word_stands_before_flushed_and_the_stream_goes_on(server: Server, three_digits: Samples) -> None:
    async def talk() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        async with client_of(server).stt_realtime(
            model_name="default", input_format="pcm", json_config={"language": "en", "delay_in_frames": 12, "temp": 0}
        ) as stt:
            for number in ("1", "2"):
                for start in range(0, len(three_digits), FRAME):
                    await stt.send_audio(three_digits[start : start + FRAME])
                await stt.send_flush(number)  # type: ignore[arg-type]
                while not heard or heard[-1]["type"] != "flushed" or heard[-1]["flush_id"] != number:
                    heard.append(await asyncio.wait_for(stt.recv(), PATIENCE))  # type: ignore[arg-type]
            await stt.send_eos()
            heard.extend([message async for message in stt])
        return heard

    heard = asyncio.run(talk())
    ready = heard[0]
    assert (ready["type"], ready["sample_rate"], ready["frame_size"]) == ("ready", 24_000, 1_920)
    assert ready["delay_in_tokens"] == ready["delay_in_frames"] > 0
    types = [message["type"] for message in heard]
    first, second = (number for number, kind in enumerate(types) if kind == "flushed")
    assert words(heard[:first]) == words(heard[first:second]) == ["zero", "two", "zero"]
    assert words(heard[second:]) == []
    assert types[:first].count("end_text") == 3
    assert types[-1] == "end_of_stream"
    step = next(message for message in heard if message["type"] == "step")
    assert [entry["horizon_s"] for entry in step["vad"]] == [0.5, 1, 2, 3]
    assert all(0 <= entry["inactivity_prob"] <= 1 for entry in step["vad"])
    assert [m["step_idx"] for m in heard if m["type"] == "step"] == list(range(types.count("step")))


@pytest.mark.parametrize(
    ("setup", "why"),
    [
        ({"model_name": "whisper"}, "no model is called"),
        ({"input_format": "mp3"}, "input_format"),
        ({"json_config": {"language": "fr"}}, "it knows en"),
        ({"json_config": {"delay_in_frames": 9}}, "delay_in_frames must be one of"),
        ({"json_config": {"prompt": "digits"}}, "prompt"),
        ({"json_config": "{"}, "json_config"),
        ({"keyterms": ["one"]}, "keyterms"),
    ],
)
def test_a_setup_that_cannot_be_met_is_an_error_that_is_not_tried_again(
    server: Server, setup: dict[str, Any], why: str
) -> None:
    with raw(server, "asr") as talk:
        talk.say("setup", **setup)
        error = talk.next()
        assert (error["type"], error["code"]) == ("error", 1003)
        assert why in error["message"]
        assert talk.close_code()[0] == 1003


def test_setup_comes_first_and_audio_must_be_audio(server: Server) -> None:
    with raw(server, "asr") as talk:
        talk.say("audio", audio="")
        assert "setup" in talk.next()["message"]
    with raw(server, "asr") as talk:
        talk.say("setup", input_format="pcm")
        talk.say("audio", audio="§")
        assert talk.until("error")[-1]["code"] == 1003


def test_the_key_is_a_header_and_a_wrong_one_is_told_before_the_upgrade(server: Server) -> None:
    for headers in ({}, {"x-api-key": "wrong"}):
        with pytest.raises(InvalidStatus) as refused, raw(server, "asr", headers):
            pass
        assert refused.value.response.status_code == 401


def test_a_full_server_says_so_with_a_code_after_which_it_can_be_tried_again(server: Server) -> None:
    with raw(server, "asr") as one, raw(server, "asr") as two, raw(server, "asr") as three:
        for talk in (one, two):
            talk.say("setup", input_format="pcm")
            assert talk.next()["type"] == "ready"
        three.say("setup", input_format="pcm")
        assert three.next()["code"] == 4000
        assert three.close_code()[0] == 4000


# --- text to speech ---


def heard_in(samples: Samples, server: Server) -> str:
    setup: Any = {"input_format": "pcm"}
    return asyncio.run(client_of(server).stt(setup, pieces(pcm(samples)))).text


@pytest.mark.parametrize(("format", "rate"), [("pcm", 48_000), ("pcm_16000", 16_000), ("wav", 48_000)])
def test_the_package_speaks(server: Server, format: str, rate: int) -> None:
    setup: Any = {"output_format": format, "voice": "heart", "json_config": {"temp": 0}}
    said = asyncio.run(client_of(server).tts(setup, ["four", "one", "five"]))
    assert said.sample_rate == rate
    if format == "wav":
        samples = audio.load(io.BytesIO(said.raw_data))
    else:
        samples = soxr.resample(np.frombuffer(said.raw_data, "<i2") / np.float32(32_768), rate, 24_000)
    assert heard_in(samples, server) == "four one five"
    assert [word.text for word in said.text_with_timestamps] == ["four", "one", "five"]
    starts = [word.start_s for word in said.text_with_timestamps]
    assert starts == sorted(starts) and starts[-1] < len(samples) / 24_000


def test_requests_on_one_socket_are_told_apart_and_it_stays_open(server: Server) -> None:
    """One slot: the second waits until the first is over."""
    with raw(server, "tts") as talk:
        for name, text in (("a", "four"), ("b", "five")):
            talk.say("setup", client_req_id=name, close_ws_on_eos=False, output_format="pcm", voice_id="heart")
            talk.say("text", client_req_id=name, text=text)
            talk.say("end_of_stream", client_req_id=name)
        heard = talk.until("end_of_stream", client_req_id="a")
        heard += talk.until("end_of_stream", client_req_id="b")  # whose slot is ready before the last of "a" is sent
        first, second = ([message for message in heard if message["client_req_id"] == name] for name in "ab")
        assert len(first) + len(second) == len(heard)
        assert (words(first), words(second)) == (["four"], ["five"])
        times = [(message["start_s"], message["stop_s"]) for message in first if message["type"] == "audio"]
        assert times[0][0] == 0 and all(one[1] == two[0] for one, two in pairwise(times))
        talk.say("text", client_req_id="a", text="late")
        assert "no request" in talk.until("error")[-1]["message"]


def test_a_request_that_is_never_ended_gives_its_slot_to_the_next_one_of_its_socket(server: Server) -> None:
    """So do agents when a listener interrupts."""
    with raw(server, "tts") as talk:
        talk.say("setup", client_req_id="old", close_ws_on_eos=False, output_format="pcm")
        talk.say("text", client_req_id="old", text="four")
        talk.until("ready")
        talk.say("setup", client_req_id="new", close_ws_on_eos=False, output_format="pcm")
        talk.say("text", client_req_id="new", text="five")
        talk.say("end_of_stream", client_req_id="new")
        heard = talk.until("end_of_stream", client_req_id="new")
        assert words([message for message in heard if message["client_req_id"] == "new"]) == ["five"]
        assert words([message for message in heard if message["client_req_id"] == "old"]) == ["four"]


@pytest.mark.parametrize(
    ("setup", "why"),
    [
        ({"voice": "nobody"}, "nobody"),
        ({"voice": "heart", "voice_id": "heart"}, "voice_id"),
        ({"output_format": "mp3"}, "output_format"),
        ({"pronunciation_id": "x"}, "pronunciation_id"),
        ({"json_config": {"padding_bonus": 1}}, "padding_bonus"),
        ({"json_config": '{"rewrite_rules": "en"}'}, "rewrite_rules"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(server: Server, setup: dict[str, Any], why: str) -> None:
    with raw(server, "tts") as talk:
        talk.say("setup", **setup)
        error = talk.next()
        assert (error["type"], error["code"]) == ("error", 1003)
        assert why in error["message"]
        assert talk.close_code()[0] == 1003


def test_an_error_in_one_request_is_its_own(server: Server) -> None:
    with raw(server, "tts") as talk:
        talk.say("setup", client_req_id="bad", close_ws_on_eos=False, voice="nobody")
        assert talk.next()["client_req_id"] == "bad"
        talk.say("setup", client_req_id="good", close_ws_on_eos=False, output_format="pcm")
        talk.say("text", client_req_id="good", text="six")
        talk.say("end_of_stream", client_req_id="good")
        assert words(talk.until("end_of_stream")) == ["six"]


# --- both, when the engine dies ---


def test_a_killed_engine_costs_no_word(server: Server, digits: Samples) -> None:
    """The last test: the engine's process is another one from here on."""
    with raw(server, "asr") as talk:
        talk.say("setup", input_format="pcm", json_config={"temp": 0})
        talk.until("ready")
        data = pcm(digits)
        half = len(data) // 2 // FRAME * FRAME
        from base64 import b64encode

        talk.say("audio", audio=b64encode(data[:half]).decode())
        heard = talk.until("text")
        os.kill(server.get("/api/status").json()["engines"][0]["pid"], signal.SIGKILL)
        talk.say("audio", audio=b64encode(data[half:]).decode())
        talk.say("flush", flush_id=7)
        heard += talk.until("flushed")
        assert words(heard) == WORDS
        talk.say("end_of_stream")
        assert talk.close_code()[0] == 1000
