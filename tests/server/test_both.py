"""Speech to text and text to speech in one server: neither notices the other, both end well."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from vivavoce import audio
from vivavoce.core import Fault, StreamError
from vivavoce.server.dialects.patient import Patient

from ..example import EXAMPLE, WORDS
from ..speech_folder import speaking_folder as speaking_folder
from .dialects.dialogue import KEY, PATIENCE, moshi, words
from .process import Server, fetch

TEXT = "viva voce by the living voice"


@pytest.fixture(scope="module")
def server(speaking_folder: Path) -> Iterator[Server]:
    flags = ("--slots", "2", "--tts-model", str(speaking_folder), "--tts-slots", "2", "--send-seconds", "1")
    with Server(*flags, "--api-keys", KEY, "--threads", "1", "--load-limit", "0") as server:
        server.wait_ready()
        yield server


def socket_of(server: Server, query: str) -> str:
    return f"ws{server.url.removeprefix('http')}/api/tts_streaming?auth_id={KEY}&{query}"


def spoken(server: Server, heard: list[float], ready: threading.Event | None = None) -> None:
    with connect(socket_of(server, "format=PcmMessagePack"), proxy=None, compression=None) as client:
        client.recv(PATIENCE)
        client.send(TEXT)
        client.send(b"\x00")
        try:
            while True:
                message = msgpack.unpackb(client.recv(PATIENCE))
                if message["type"] == "Audio":
                    heard += message["pcm"]
                    if ready:
                        ready.set()
        except ConnectionClosed:
            return


def test_both_at_once_and_one_account_of_them(server: Server) -> None:
    samples = audio.load(EXAMPLE)
    first: list[float] = []
    spoken(server, first)
    again: list[float] = []
    speaker = threading.Thread(target=spoken, args=(server, again))
    speaker.start()
    with moshi(server.url) as client:
        client.audio(samples)
        client.say("Marker", id=1)
        assert words(client.until_type("Marker")) == WORDS
    speaker.join()
    np.testing.assert_allclose(again, first, atol=1e-4)
    status = server.get("/api/status").json()
    assert [(module["name"], module["module_type"]) for module in status["capacity"]["modules"]] == [
        ("/api/asr-streaming", "batched_asr"), ("/api/tts_streaming", "py"),
    ]  # fmt: skip
    assert status["capacity"]["total_slots"] == 4
    assert [engine["state"] for engine in status["engines"]] == ["ready", "ready"]
    assert len({engine["pid"] for engine in status["engines"]}) == 2
    metrics = server.get("/metrics").body.decode()
    for line in ('asr_connect{handler="all"} 1', 'py_connect{handler="all"} 2', 'vivavoce_ready{module="tts"} 1.0'):
        assert line in metrics
    assert json.loads(server.get("/ready").body)["modules"] == {"stt": {"state": "ready"}, "tts": {"state": "ready"}}


def test_who_does_not_read_is_cut_and_nobody_else_notices(server: Server) -> None:
    whole: list[float] = []
    spoken(server, whole)
    with connect(
        socket_of(server, "format=PcmMessagePack"), sock=deaf(server), proxy=None, compression=None, max_queue=1
    ) as client:
        client.send("voice " * 900)
        server.wait_for("SLOW_READER")
        heard: list[float] = []
        spoken(server, heard)
        np.testing.assert_allclose(heard, whole, atol=1e-4)


def test_an_answer_that_is_not_read_is_given_up() -> None:
    async def stuck(_: object) -> None:
        await asyncio.Event().wait()

    with pytest.raises(StreamError) as ended:
        asyncio.run(Patient(stuck, 0.01).body(b"some audio"))
    assert ended.value.fault is Fault.SLOW_READER


def deaf(server: Server) -> socket.socket:
    """A connection whose buffer for what comes is as small as can be."""
    address = urllib.parse.urlsplit(server.url)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.connect((address.hostname, address.port))
    return made


def test_sigterm_lets_the_voice_finish_to_its_last_sample(server: Server) -> None:
    """The last test: the server ends."""
    whole: list[float] = []
    spoken(server, whole)
    heard: list[float] = []
    begun = threading.Event()
    speaker = threading.Thread(target=spoken, args=(server, heard, begun))
    speaker.start()
    assert begun.wait(PATIENCE)
    server.signal(signal.SIGTERM)
    server.wait_for("Draining")
    assert fetch(f"{server.url}/api/tts/voices", {"kyutai-api-key": KEY}).status == 200
    speaker.join()
    np.testing.assert_allclose(heard, whole, atol=1e-4)
    assert server.wait() == 0
