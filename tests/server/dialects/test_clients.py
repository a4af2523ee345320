"""Handshakes of the clients that exist, message for message (spec/moshi-server.md §9)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosedOK

from .dialogue import FRAME, KEY, Samples, moshi, types, words

READY = bytes.fromhex("81a474797065a55265616479")
ZEROS = np.zeros(24_000, np.float32)
SILENT_FRAME = np.zeros(FRAME, np.float32)


def chunks(samples: Samples) -> list[Samples]:
    return [samples[start : start + FRAME] for start in range(0, len(samples), FRAME)]


def test_stt_from_file_gets_all_words_one_marker_and_may_go(url: str, digits: Samples, said: list[str]) -> None:
    """It does not wait for Ready, floods, and leaves 34 s of silence behind."""
    with moshi(url) as client:
        client.audio(ZEROS)
        for chunk in chunks(digits):
            client.audio(chunk)
        for _ in range(5):
            client.audio(ZEROS)
        client.say("Marker", id=0)
        for _ in range(35):
            client.audio(ZEROS)
        heard = client.until_type("Marker")
    assert heard[0] == {"type": "Ready"}
    assert heard[-1] == {"type": "Marker", "id": 0}
    assert words(heard) == said
    assert types(heard).count("EndWord") == len(said)
    assert all(set(step) == {"type", "step_idx", "prs", "buffered_pcm"} for step in heard if step["type"] == "Step")


def test_stt_from_mic_sees_words_while_it_speaks_and_a_pause_after_them(url: str, digits: Samples) -> None:
    with moshi(url) as client:
        heard = [client.next()]
        for number, chunk in enumerate(chunks(np.concatenate([digits[: 3 * 24_000 + 15_000], ZEROS, ZEROS])), 1):
            client.audio(chunk)
            if len(chunk) == FRAME:
                heard += client.steps(1)
                assert heard[-1]["step_idx"] == number
    last_word = max(place for place, message in enumerate(heard) if message["type"] == "Word")
    pauses = [message["prs"] for message in heard[last_word:] if message["type"] == "Step"]
    assert max(pause[0] for pause in pauses) > 0.5  # digits never pause for the 2 s of the head that it draws
    assert all(0 <= pause[2] <= pause[0] for pause in pauses[-10:])


def test_unmute_is_ready_at_once_counts_frames_and_flushes_with_silence(url: str, three_digits: Samples) -> None:
    with moshi(url) as client:
        assert client.next_raw() == READY
        time = -0.5
        for chunk in chunks(three_digits):
            client.audio(chunk)
            for message in client.steps(1):
                if message["type"] == "Step":
                    assert isinstance(message["step_idx"], int)
                    assert len(message["prs"]) == 4
                    time += 0.08
                else:
                    assert message["type"] in ("Word", "EndWord")
        assert math.isclose(time, -0.5 + 27 * 0.08)
        eight = math.ceil(0.5 / 0.08) + 1
        for _ in range(eight):
            client.audio(SILENT_FRAME)
        flushed = client.steps(eight)
        assert time + 0.08 * types(flushed).count("Step") > time + 0.5
        client.say("Ping")
        client.audio(SILENT_FRAME)
        assert client.next()["step_idx"] == 27 + eight + 1  # exactly one for each frame


def test_unmutes_latency_probe_a_marker_before_each_frame_is_answered_by_its_audio(
    url: str, three_digits: Samples
) -> None:
    """Nothing is put into the stream between the frames: the words are those of a stream without markers."""
    with moshi(url) as client:
        for number, chunk in enumerate(chunks(three_digits)):
            client.say("Marker", id=1_700_000_000_000 + number)
            client.audio(chunk)
        heard = client.until(lambda message: message == {"type": "Marker", "id": 1_700_000_000_026})
    assert [m["id"] - 1_700_000_000_000 for m in heard if m["type"] == "Marker"] == list(range(27))
    assert words(heard)[:2] == ["zero", "two"]
    starts = [message["start_time"] for message in heard if message["type"] == "Word"]
    assert starts[:2] == [0.88, 1.28]


def test_unmutes_script_marks_the_end_before_25_silent_frames(url: str, three_digits: Samples) -> None:
    with moshi(url) as client:
        for chunk in chunks(three_digits):
            client.audio(chunk)
        client.say("Marker", id=5)
        for _ in range(25):
            client.audio(SILENT_FRAME)
        heard = client.until_type("Marker")
        assert words(heard) == ["zero", "two", "zero"]
        assert types(heard).count("EndWord") == 3


def test_the_apple_installers_client_pings_until_its_marker_comes(url: str, three_digits: Samples) -> None:
    with moshi(url) as client:
        client.audio(ZEROS)
        for chunk in chunks(three_digits):
            client.audio(chunk)
        client.audio(np.zeros(9_600, np.float32))
        client.say("Marker", id=0)
        for _ in range(35):
            client.audio(SILENT_FRAME)
        assert client.socket.ping().wait(60)
        heard = client.until_type("Marker")
    assert words(heard) == ["zero", "two", "zero"]


def test_the_go_client_sends_a_second_of_silence_each_second_then_drains_to_an_empty_buffer(
    url: str, three_digits: Samples
) -> None:
    with moshi(url, "/api/asr-streaming?format=PcmMessagePack") as client:
        for chunk in chunks(three_digits):
            client.audio(chunk)
        client.say("Marker", id=42)
        # Its ticker has not sent silence yet when our own flush answers: a Step with an empty buffer follows.
        heard = client.until_type("Marker")
        assert words(heard) == ["zero", "two", "zero"]
        assert client.until(lambda message: message.get("buffered_pcm") == 0)[-1]["type"] == "Step"
        client.audio(ZEROS[:FRAME])
        assert client.until_type("Step")[-1]["buffered_pcm"] == 0


def test_the_forks_client_pings_and_ends_with_the_lowest_marker_but_one(url: str, three_digits: Samples) -> None:
    with moshi(url) as client:
        client.audio(three_digits)
        client.say("Ping")
        client.say("Marker", id=-(2**63) + 1)
        heard = [client.next()]
        while heard[-1]["type"] != "Marker":
            client.audio(SILENT_FRAME)
            heard += client.steps(1)
            if any(message["type"] == "Marker" for message in heard):
                break
        marker = next(message for message in heard if message["type"] == "Marker")
        assert marker["id"] == -(2**63) + 1
        assert words(heard) == ["zero", "two", "zero"]
        client.socket.close()
        with pytest.raises(ConnectionClosedOK):
            client.until(lambda _: False)  # Steps may have been on their way


def test_the_modal_proxy_sends_doubles_and_reads_words(url: str, three_digits: Samples) -> None:
    with moshi(url) as client:
        for chunk in chunks(np.concatenate([three_digits, ZEROS])):
            client.audio(chunk, single=False)
        heard = client.steps(39)
    assert words(heard) == ["zero", "two", "zero"]


def test_the_key_may_stand_in_the_query(url: str) -> None:
    with moshi(url, f"/api/asr-streaming?auth_id={KEY}", headers={}) as client:
        assert client.next_raw() == READY
