"""Clients that break off, do not read, or send what they should not hurt only themselves (bench/results/faults.md)."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import msgpack
import numpy as np
import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from vivavoce.bench.clip import Clip

from ..server.dialects.dialogue import Talk, moshi, stream, types, words
from ..server.process import Server
from ..server.raw import BINARY, CLOSE, PING, PONG, TEXT, Raw, frame, pieces
from .conftest import SLOTS
from .witness import Spoken, witnesses

MOSHI = "/api/asr-streaming"
FREE = SLOTS - 3  # beside two witnesses and one that has just begun
MESSAGE_BYTES = 16 * 1024**2
Beside = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def beside(url: str, clip: Clip, said: Spoken) -> Beside:
    """`with beside():` witnesses speak."""
    return lambda: witnesses(url, clip, said)


def opened(url: str, path: str, **options: int) -> Raw:
    client = Raw(url, **options)
    assert client.upgrade(path).status == 101
    return client


def moshi_audio(pcm: bytes) -> bytes:
    return msgpack.packb({"type": "Audio", "pcm": pcm})


def audio_frame(message: bytes) -> bytes:
    return frame(BINARY, message)


def until_it_ends(client: Raw, frames: Iterable[bytes]) -> None:
    """Send these again and again, until the connection takes no more."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        for one in itertools.cycle(frames):
            client.socket.sendall(one)


def close_code(client: Talk, messages: Iterable[bytes | str]) -> int:
    """Send these, which are too many; the server's close code."""
    with contextlib.suppress(ConnectionClosed):
        for message in messages:
            client.send(message)
    return client.close_code()[0]


# --- clients that vanish ---


@pytest.mark.parametrize("how", ["reset", "drop"])
def test_a_client_that_vanishes_gives_its_slot_back(url: str, beside: Beside, pcm: bytes, how: str) -> None:
    """Twenty times in each way, in both dialects, with audio under way; with resume its session waits a while first."""
    with beside():
        for turn in range(20):
            path = (MOSHI, "/v1/stream", "/v1/stream?resume=true")[turn % 3]
            client = opened(url, path)
            client.send(BINARY, moshi_audio(pcm) if path == MOSHI else pcm)
            getattr(client, how)()


def test_a_client_that_falls_silent_is_closed_after_the_idle_time(url: str, beside: Beside, pcm: bytes) -> None:
    """A half-open connection looks like this: nothing comes any more, no pong, no FIN."""
    with beside(), contextlib.ExitStack() as stack:
        paths = [f"/v1/stream?idle=1&resume={resume}" for resume in ("true", "false") for _ in range(FREE // 2)]
        silent = [stack.enter_context(opened(url, path)) for path in paths]
        for client in silent:
            client.send(BINARY, pcm[:40_003])  # the last one is no whole sample
        assert [client.until(CLOSE).close_code for client in silent] == [4006] * len(silent)


# --- clients that do not read ---


def test_a_client_that_never_reads_is_cut(url: str, server: Server, beside: Beside, pcm: bytes) -> None:
    """One in each dialect, that sends audio, and what must be answered, and leaves everything in its buffers."""
    unread = "SLOW_READER: the client has not read for 1 s"
    before = server.text.count(unread)
    with beside(), contextlib.ExitStack() as stack:
        for path, audio, bad in (
            ("/v1/stream", pcm[:7_680], b'{"type":"%s"}' % (b"x" * 600)),
            (MOSHI, moshi_audio(pcm[:7_680]), bytes(600)),
        ):
            client = stack.enter_context(opened(url, path, receive_bytes=2_048))
            client.socket.settimeout(0.5)
            until_it_ends(client, [audio_frame(audio), *[frame(TEXT, bad)] * 18])
        while server.text.count(unread) < before + 2:
            server.wait_for(unread)
            time.sleep(0.1)


def test_a_client_that_reads_slowly_hears_every_word(url: str, beside: Beside, long_clip: Clip) -> None:
    with beside(), opened(url, "/v1/stream?words=true&vad=true", receive_bytes=2_048) as client:
        client.send(BINARY, long_clip.samples.astype("<f4").tobytes())
        client.send(TEXT, b'{"type":"eos"}')
        heard = []
        while (one := client.next()) and one.opcode != CLOSE:
            if one.opcode == TEXT:
                heard.append(json.loads(one.payload))
            time.sleep(0.01)
        assert len(words(heard)) == 22
        assert types(heard)[-1] == "end"


def test_a_client_that_pings_and_reads_no_pong_does_not_fill_the_memory(
    url: str, server: Server, beside: Beside
) -> None:
    """31 MB of pings; what waits for it stays a small part of that, and the last one is answered when it reads."""
    process = psutil.Process(server.process.pid)
    pings = frame(PING, bytes(125)) * 1_000
    with beside(), opened(url, "/v1/stream", receive_bytes=2_048) as client:
        before, began = process.memory_info().rss, time.monotonic()
        for _ in range(240):
            client.socket.sendall(pings)
        client.send(PING, b"the last")
        heard = 2 * 96_000 * (time.monotonic() - began)  # what two witnesses have said meanwhile is kept
        assert process.memory_info().rss - before < 8 * 1024**2 + heard
        while client.until(PONG).payload != b"the last":
            pass


# --- clients that send what they should not ---


def test_garbage_is_answered_and_ends_the_stream_at_the_twentieth(url: str, beside: Beside) -> None:
    """Random bytes in both dialects, as binary and as text messages, eight streams at once."""
    draw = random.Random(0)

    bytes_of = [draw.randbytes(size) for size in (1, 3, 17, 1_000) for _ in range(20)]
    garbage = [data if draw.random() < 0.7 else data.hex() for data in bytes_of]
    with beside():
        for _ in range(4):
            with moshi(url) as client:
                assert close_code(client, draw.sample(garbage, 40)) == 4003
            with stream(url) as client:
                assert close_code(client, [b"\xff" * 4 * draw.randint(1, 500) for _ in range(40)]) == 4003


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_what_is_no_sample_changes_nothing(url: str, beside: Beside, pcm: bytes, value: float) -> None:
    """Between any two messages of speech, a message with one such sample in it, in both dialects."""
    bad = np.array([0.0, value, 0.0], "<f4").tobytes()
    cut = list(pieces(pcm, 20_000))
    with beside(), stream(url, "words=true") as one, moshi(url) as other:
        for good in cut:
            one.send(bad)
            one.send(good)
            other.send(moshi_audio(bad))
            other.send(moshi_audio(good))
        one.control("eos")
        other.say("Marker", id=1)
        heard, also = one.until_type("end"), other.until_type("Marker")
        assert words(heard) == words(also) == ["zero", "two", "zero"]
        assert types(heard).count("error") == types(also).count("Error") == len(cut)


def test_the_largest_message_is_taken_and_a_larger_one_is_refused(url: str, beside: Beside) -> None:
    """16 MiB are 175 s of audio in one message: they are heard beside the others, not before them."""
    with beside():
        with stream(url) as client:
            client.send(bytes(MESSAGE_BYTES))
            client.until_type("ready")
            client.socket.close()
        for path in ("/v1/stream", MOSHI):
            with opened(url, path) as client:
                with_head = b"\x82\xff" + struct.pack(">Q", MESSAGE_BYTES + 1) + bytes(4)
                client.socket.sendall(with_head)  # what it would be is enough: nothing of it need come
                assert client.until(CLOSE).close_code == 1009


def test_a_message_of_two_to_the_63_bytes_is_refused_at_once(url: str, beside: Beside) -> None:
    with beside(), opened(url, "/v1/stream") as client:
        client.socket.sendall(b"\x82\xff" + struct.pack(">Q", 2**63 - 1) + bytes(4))
        assert client.until(CLOSE).close_code == 1009


def test_one_sample_or_one_byte_a_message_gives_the_same_words_or_is_refused_as_too_many(
    url: str, beside: Beside, pcm: bytes
) -> None:
    """A sixtieth of a second so, then the rest; then without an end, until the limit of small messages says no."""
    with beside():
        for size in (1, 4):
            with stream(url, "words=true") as client:
                for piece in pieces(pcm[:1_600], size):
                    client.send(piece)
                client.send(pcm[1_600:])
                client.control("eos")
                assert words(client.until_type("end")) == ["zero", "two", "zero"]
        with stream(url) as client:
            assert close_code(client, [b"\0"] * 5_000) == 4004


def test_a_thousand_times_real_time_is_heard_whole_and_slows_nobody(url: str, beside: Beside, long_clip: Clip) -> None:
    """Three streams that send all of their audio at once, in both dialects."""
    data = long_clip.samples.astype("<f4").tobytes()
    with beside(), stream(url, "words=true") as one, stream(url, "words=true&resume=true") as two, moshi(url) as three:
        one.send(data)
        for piece in pieces(data, 96_000):
            two.send(piece)
        three.send(moshi_audio(data))
        for client in (one, two):
            client.control("eos")
        three.say("Marker", id=1)
        heard = [words(client.until_type(last)) for client, last in ((one, "end"), (two, "end"), (three, "Marker"))]
        assert heard[0] == heard[1] == heard[2]
        assert len(heard[0]) == 22
