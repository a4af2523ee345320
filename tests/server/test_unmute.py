"""Unmute's backend loop over one server that hears and speaks: its turns, its flush trick, its checks of messages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from vivavoce import audio

from ..example import EXAMPLE, SAID
from .dialects.dialogue import KEY, PATIENCE
from .process import Server

FRAME = 1920
FRAME_SECONDS = 0.08
DELAY = 0.64  # seconds that the model's text is behind; Unmute's constant is that of its own model, 0.5
TYPES_STT = {"Ready", "Step", "Word", "EndWord", "Marker", "Error"}
TYPES_TTS = {"Ready", "Audio", "Text", "Error"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    flags = ("--slots", "2", "--tts-model", "tts-digits-en", "--tts-slots", "2")
    with Server(*flags, "--api-keys", KEY, "--threads", "1", "--load-limit", "0") as server:
        server.wait_ready()
        yield server


def opened(server: Server, path: str) -> ClientConnection:
    headers = {"kyutai-api-key": KEY}
    return connect("ws" + server.url.removeprefix("http") + path, additional_headers=headers, proxy=None)


def message(socket: ClientConnection, known: set[str]) -> dict[str, Any]:
    """Validated as Unmute does: an unknown type, or Error, ends the conversation."""
    found = msgpack.unpackb(socket.recv(PATIENCE))
    assert found["type"] in known - {"Error"}, found
    return found


class Ear:
    """unmute/stt/speech_to_text.py"""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        assert message(socket, TYPES_STT)["type"] == "Ready"
        self.now, self.steps, self.pause = -DELAY, 0, 1.0
        self.words: list[str] = []

    def send(self, samples: NDArray[np.float32]) -> None:
        self._socket.send(msgpack.packb({"type": "Audio", "pcm": samples.tolist()}, use_single_float=True))

    def step(self) -> None:
        """Until a frame was heard: each has one Step."""
        while (found := message(self._socket, TYPES_STT))["type"] != "Step":
            if found["type"] == "Word":
                self.words.append(found["text"])
        assert isinstance(found["step_idx"], int)
        self.now, self.steps = self.now + FRAME_SECONDS, self.steps + 1
        if self.steps > 12:
            kept = math.exp(-FRAME_SECONDS / 0.01)
            self.pause = kept * self.pause + (1 - kept) * found["prs"][2]

    def turn(self, samples: NDArray[np.float32]) -> str:
        """What is said until the model hears the pause."""
        for start in range(0, len(samples), FRAME):
            self.send(np.pad(part := samples[start : start + FRAME], (0, FRAME - len(part))))
            self.step()
        for _ in range(100):  # the caller says no more
            if self.words and self.pause > 0.6:
                break
            self.send(np.zeros(FRAME, np.float32))
            self.step()
        assert self.pause > 0.6, "no pause was heard in eight seconds of silence"
        until = self.now + DELAY
        silent = math.ceil(DELAY / FRAME_SECONDS) + 1
        for _ in range(silent):
            self.send(np.zeros(FRAME, np.float32))
        for _ in range(silent):
            self.step()
        assert self.now > until
        said, self.words = " ".join(self.words), []
        return said


def spoken(server: Server, text: str) -> NDArray[np.float32]:
    """unmute/tts/text_to_speech.py"""
    with opened(server, "/api/tts_streaming?format=PcmMessagePack&voice=heart&cfg_alpha=1.5") as socket:
        assert any(message(socket, TYPES_TTS)["type"] == "Ready" for _ in range(10))
        for word in text.split():
            socket.send(msgpack.packb({"type": "Text", "text": word}))
        socket.send(msgpack.packb({"type": "Eos"}))
        pcm: list[float] = []
        words: list[str] = []
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012
            while True:
                found = message(socket, TYPES_TTS)
                pcm += found.get("pcm", ())
                words += [found["text"]] if found.get("text") else []
        assert closed.value.rcvd is None or closed.value.rcvd.code in (1000, 1001, 1005)
        assert words == text.split()
        return np.array(pcm, np.float32)


def test_it_hears_a_turn_answers_and_hears_its_own_answer_as_the_next_turn(server: Server) -> None:
    assert server.get("/api/build_info").status == 200
    with opened(server, "/api/asr-streaming") as socket:
        ear = Ear(socket)
        heard = ear.turn(audio.load(EXAMPLE))
        assert heard == SAID
        assert ear.turn(spoken(server, heard)) == SAID
