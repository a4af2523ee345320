"""The quick way of live audio: whichever way a message takes, nothing is lost, doubled, or out of order."""

from __future__ import annotations

import asyncio
import base64
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.frames import Frame, Opcode

from vivavoce.core import StreamError
from vivavoce.server.dialects import moshi_codec, packing
from vivavoce.server.dialects.caller import Caller
from vivavoce.server.dialects.sound import Format, sound
from vivavoce.server.gate import SMALL_MESSAGE, Admitted
from vivavoce.server.websocket import PatientWebSocket, framed
from vivavoce.server.wire import uvicorn_config
from vivavoce.settings import ServeSettings

LARGEST = 70_000  # bytes
HEAD = (
    b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
MESSAGES = st.lists(
    st.one_of(
        st.integers(0, 8).map(bytes),
        st.integers(SMALL_MESSAGE, 9_000).map(lambda size: bytes(range(256)) * (size // 256)),
        st.integers(65_000, LARGEST - 1).map(bytes),
        st.text(max_size=300),
    ),
    max_size=8,
)


class Wire(asyncio.Transport):
    """A socket whose client is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.reading, self.closed = b"", True, False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def frames(message: bytes | str, parts: int) -> list[bytes]:
    """A message in so many fragments, with a ping between them."""
    opcode, data = (Opcode.BINARY, message) if isinstance(message, bytes) else (Opcode.TEXT, message.encode())
    size = max(1, -(-len(data) // parts))
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    built = []
    for number, piece in enumerate(pieces):
        frame = Frame(opcode if not number else Opcode.CONT, piece, fin=number == len(pieces) - 1)
        built += [frame.serialize(mask=True), Frame(Opcode.PING, b"?").serialize(mask=True)]
    return built


async def heard(bites: list[bytes], takes: list[bool]) -> tuple[list[bytes | str], int]:
    """What the application hears of these bytes, and how many messages of it quickly.

    `takes`: which messages it takes when it may.
    """
    told, quick = list[bytes | str](), 0

    def take(message: bytes) -> bool:
        nonlocal quick
        if takes and not takes[(len(told)) % len(takes)]:
            return False
        told.append(message)
        quick += 1
        return True

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        caller = Caller(websocket, Admitted("anyone", "here", [], None, LARGEST, print), 10)
        with caller.quickly(take):
            while True:
                told.append(message := await caller.hear())
                await asyncio.sleep(0)  # it does something with it, and does not listen
                if message == "the end":
                    return

    config = uvicorn_config(ServeSettings(message_bytes=LARGEST), application)
    config.load()
    protocol = PatientWebSocket(config, uvicorn.server.ServerState(), {})
    protocol.connection_made(wire := Wire())
    protocol.data_received(HEAD)
    for bite in [*bites, *frames("the end", 1)]:
        while not wire.reading:
            await asyncio.sleep(0)
        protocol.data_received(bite)
        if len(told) % 2:
            await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await asyncio.gather(*protocol.tasks)
    protocol.connection_lost(None)
    assert told.pop() == "the end"
    return told, quick


@settings(deadline=None)
@given(MESSAGES, st.integers(1, 3), st.lists(st.integers(0, 200_000), max_size=20), st.lists(st.booleans(), max_size=5))
def test_every_message_is_heard_once_and_in_order(
    messages: list[bytes | str], parts: int, cuts: list[int], takes: list[bool]
) -> None:
    sent = b"".join(frame for message in messages for frame in frames(message, parts))
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    bites = [sent[begin:end] for begin, end in pairwise(places) if begin < end]
    told, _ = asyncio.run(heard(bites, takes))
    assert told == messages


def test_live_audio_is_heard_quickly() -> None:
    messages = [bytes([number]) * 7_680 for number in range(5)]
    bites = [frame for message in messages for frame in frames(message, 1)]
    told, quick = asyncio.run(heard([b"", *bites], [True]))
    assert told == messages
    assert quick >= 3  # the first ones may come before the application listens


@given(st.one_of(st.binary(max_size=300), st.integers(60_000, 70_000).map(bytes)), st.booleans())
def test_a_frame_is_written_as_the_library_writes_it(message: bytes, text: bool) -> None:
    opcode = Opcode.TEXT if text else Opcode.BINARY
    assert framed(message, text) == Frame(opcode, message).serialize(mask=False)


def read(format: Format, rate: int, data: bytes) -> np.ndarray[Any, Any] | None:
    try:
        blocks = list(sound(format, rate).read(data))
    except StreamError:
        return None
    return np.concatenate([np.zeros(0, np.float32), *blocks])


@given(st.sampled_from(["pcm_f32le", "pcm_s16le", "mulaw", "alaw"]), st.binary(max_size=64))
def test_audio_that_is_read_at_once_is_what_is_read(format: Format, data: bytes) -> None:
    samples = sound(format, 24_000).at_once(data)
    if samples is not None:
        np.testing.assert_array_equal(samples, read(format, 24_000, data))


@pytest.mark.parametrize("format", ["pcm_f32le", "pcm_s16le", "mulaw", "alaw"])
def test_a_frame_of_speech_is_read_at_once(format: Format) -> None:
    speech = np.full(1_920, 0.9, np.float32)
    assert sound(format, 24_000).at_once(speech.tobytes()) is not None
    assert sound("pcm_f32le", 24_000).at_once(np.array([np.nan] * 480, np.float32).tobytes()) is None
    assert sound(format, 8_000).at_once(speech.tobytes()) is None  # a resampler holds back what it cannot give yet


@given(st.binary(max_size=60))
def test_a_message_that_is_decoded_at_once_is_what_is_decoded(rest: bytes) -> None:
    data = b"\x82\xa4type\xa5Audio\xa3pcm" + rest
    at_once = moshi_codec.audio_at_once(data)
    try:
        decoded = moshi_codec.decode(data)
    except StreamError:
        assert at_once is None
        return
    assert isinstance(decoded, moshi_codec.Audio)
    assert at_once is not None
    np.testing.assert_array_equal(at_once, decoded.pcm)


def test_moshis_audio_is_decoded_at_once() -> None:
    speech = np.linspace(-1, 1, 1_920, dtype=np.float32)
    pcm = moshi_codec.audio_at_once(b"\x82\xa4type\xa5Audio\xa3pcm" + packing.singles(speech))
    np.testing.assert_array_equal(pcm, speech)
