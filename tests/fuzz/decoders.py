"""Every decoder that reads what a caller sends: seeds that it understands, and what it must do with any bytes.

A target takes bytes and returns; it may refuse them by the error of its decoder. Anything else it raises is a crash.
Used by the tests here and by bench/fuzz.py.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import av
import jwt
import msgpack
import numpy as np
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from vivavoce import audio
from vivavoce.core import Fault, InvalidAudioError, StreamError
from vivavoce.server.dialects import moshi_codec, speech_codec, stream_messages
from vivavoce.server.dialects.opening import speech_options
from vivavoce.server.dialects.opus import OpusReader
from vivavoce.server.dialects.sound import Format, sound
from vivavoce.server.dialects.speech_post import order_of
from vivavoce.server.dialects.speech_wishes import speech_wishes
from vivavoce.server.dialects.wishes import wishes
from vivavoce.server.gate import Gate
from vivavoce.session import TextReader
from vivavoce.settings import ServeSettings, SettingsError, SpeechModule, load

SECRET = "a secret of the account service that is long enough"
SAMPLES = (np.sin(np.arange(4_800) / 9) / 2).astype(np.float32)
MOUTH = SpeechModule(label="tts")
CONFIGS = Path(__file__).parents[1] / "settings" / "configs"


@dataclass(frozen=True)
class Decoder:
    """What is fuzzed."""

    seeds: list[bytes]
    target: Callable[[bytes], None]
    share: float  # of all inputs: slow decoders have fewer


def msgpack_codec(data: bytes) -> None:
    with_fault(Fault.INVALID_MESSAGE, moshi_codec.decode, data)


def speech(data: bytes) -> None:
    with_fault(Fault.INVALID_MESSAGE, speech_codec.decode, data)


def speech_query(data: bytes) -> None:
    asked = QueryParams(data.decode("latin-1"))
    with_fault(Fault.INVALID_PARAMETER, lambda: speech_options(MOUTH, **speech_wishes(asked).options))


def speech_body(data: bytes) -> None:
    """As POST /api/tts does it."""
    try:
        order = order_of("application/json", data)
        speech_options(MOUTH, **order.options)
        reader = TextReader()
        for number, turn in enumerate(order.turns):
            reader.push(turn, whole=True, speaker=number % 2)
    except HTTPException as error:
        one_line(error, error.status_code in (400, 422))
    except StreamError as error:
        one_line(error, error.fault in (Fault.INVALID_MESSAGE, Fault.INVALID_PARAMETER))


def control(data: bytes) -> None:
    with_fault(Fault.INVALID_MESSAGE, stream_messages.control, data.decode("utf-8", "replace"))


def sounds(data: bytes) -> None:
    """The first bytes choose the format, the rate and the cuts; what is cut otherwise must sound the same."""
    if len(data) < 4:
        return
    choice, rate, size, data = data[0], data[1], 1 + data[2], data[3:]
    formats = [name for name in get_args(Format) if name != "opus"]
    kind, hertz = formats[choice % 4], (8_000, 16_000, 24_000, 48_000)[rate % 4]
    whole, refused = heard(sound(kind, hertz), [data])
    cut, also = heard(sound(kind, hertz), [data[at : at + size] for at in range(0, len(data), size)])
    assert refused or also or np.array_equal(whole, cut), f"{kind} at {hertz} Hz, cut each {size} bytes"


def heard(reader: Any, messages: list[bytes]) -> tuple[Any, bool]:
    """All samples, finite; and whether a message was refused."""
    parts, refused = [np.zeros(0, np.float32)], False
    for message in messages:
        try:
            parts.extend(reader.read(message))
        except StreamError as error:
            one_line(error, error.fault is Fault.INVALID_MESSAGE)
            refused = True
    samples = np.concatenate([*parts, reader.rest()])
    assert np.isfinite(samples).all()
    return samples, refused


def opus(data: bytes) -> None:
    """The first byte cuts."""
    reader, size = OpusReader(), 1 + 8 * (data[0] if data else 0)
    for at in range(1, len(data), size):
        with_fault(Fault.INVALID_MESSAGE, lambda at=at: sum(map(len, reader.read(data[at : at + size]))))


def query(data: bytes) -> None:
    with_fault(Fault.INVALID_PARAMETER, wishes, QueryParams(data.decode("latin-1")))


def headers(data: bytes) -> None:
    """Lines of `name: value`, the first one the query string, through a gate that knows keys, tokens and Modal."""
    first, *lines = data.split(b"\n")
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    scope = {"type": "http", "path": "/", "client": ("192.0.2.1", 1), "query_string": first, "headers": pairs}
    faults = Fault.UNAUTHENTICATED, Fault.FORBIDDEN, Fault.RATE_LIMITED
    with_fault(faults, admit, HTTPConnection(scope))


@functools.cache
def gate() -> Gate:
    return Gate(
        ServeSettings(
            addr="0.0.0.0", api_keys=["public_token"], jwt_secret=SECRET, modal_headers=True, modal_key="k",
            modal_secret="s", connections_per_address=5,
        ),
        str,  # nobody counts
    )  # fmt: skip


def admit(connection: HTTPConnection) -> None:
    waiting = gate().admit(connection, "stt")
    try:
        waiting.send(None)
    except StopIteration:
        pass
    else:
        raise AssertionError("the gate waits for something")


def settings(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "c.toml")
        config.write_bytes(data)
        try:
            load(config=config, environment={"HOME": "/home/me"}, dotenv=None)
        except SettingsError as error:
            one_line(error)


def recording(data: bytes) -> None:
    """As POST does it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            blocks = audio.blocks(Path(file.name), 1.0, name="the recording")
        except InvalidAudioError as error:
            one_line(error)
            return
        try:
            for block in blocks:
                assert np.isfinite(block).all()
        except InvalidAudioError as error:
            one_line(error)
        finally:
            blocks.close()


def one_line(error: Exception, expected: bool = True) -> None:
    """A refusal is of the kind that this decoder has, and can stand in a log."""
    assert expected, repr(error)
    assert "\n" not in str(error)


def with_fault(fault: Fault | tuple[Fault, ...], decode: Callable[..., object], *arguments: object) -> None:
    """A result, or the decoder's own refusal in one line."""
    try:
        decode(*arguments)
    except StreamError as error:
        one_line(error, error.fault in (fault if isinstance(fault, tuple) else (fault,)))


# --- seeds ---


def token(**changes: object) -> bytes:
    session = dict.fromkeys(("id", "userId", "createdAt", "updatedAt"), "x") | {"expiresAt": "2100-01-01T00:00:00Z"}
    claims = {"session": session, "user": {"id": "u"}, "exp": 4_102_444_800, **changes}
    return jwt.encode(claims, SECRET, "HS256").encode()


def file_of(format: str, codec: str, rate: int) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=f".{format}") as file:
        with av.open(file.name, "w", format=format) as container:
            track = container.add_stream(codec, rate=rate, layout="mono")
            for at in range(0, len(SAMPLES), 960):
                pcm = (SAMPLES[None, at : at + 960] * 20_000).astype(np.int16)
                one = av.AudioFrame.from_ndarray(pcm, "s16", "mono")
                one.rate, one.pts = rate, at
                container.mux(track.encode(one))
            container.mux(track.encode(None))
        return Path(file.name).read_bytes()


def moshi_seeds() -> list[bytes]:
    messages: list[dict[str, object]] = [
        {"type": "Init"}, {"type": "Ping"}, {"type": "Marker", "id": -(2**63)}, {"type": "Marker", "id": 2**40},
        {"type": "Audio", "pcm": [0, 0.5, -1, 1000]}, {"type": "Audio", "pcm": SAMPLES[:60].tolist()},
        {"type": "Audio", "pcm": SAMPLES[:60].tobytes()}, {"type": "OggOpus", "data": list(b"OggS" + bytes(40))},
        {"type": "OggOpus", "data": b"OggS", "more": {"deep": [[], {}, None, True, "x", 1.5]}},
    ]  # fmt: skip
    packed = [msgpack.packb(message, use_single_float=single) for message in messages for single in (True, False)]
    return [*packed, msgpack.packb(["Marker", 1])]


def speech_seeds() -> list[bytes]:
    messages: list[dict[str, object]] = [
        {"type": "Text", "text": "Hello"}, {"text": "é" * 40, "type": "Text"}, {"type": "Eos"}, {"type": "Clear"},
        {"type": "Flush", "id": 7},
        {"type": "Voice", "embeddings": SAMPLES[:60].tolist(), "shape": [1, 12, 5]},
        {"type": "Voice", "embeddings": SAMPLES[:60].tobytes(), "shape": [12, 5]},
    ]  # fmt: skip
    packed = [msgpack.packb(message, use_single_float=single) for message in messages for single in (True, False)]
    return [*packed, b"\x00", b"\x01", b"\x02", msgpack.packb(["Text", "a"])]


SPEECH_QUERIES = [
    {"format": "PcmMessagePack", "voice": "a/b.wav", "seed": 2**64 - 1, "temperature": "0.7", "top_k": 250},
    {"format": "OggOpus", "cfg_alpha": "1.5", "auth_id": "x", "max_seq_len": 2048},
]
ORDERS = [
    {"text": "four one five", "voice": "a/b.wav"},
    {"text": ["a", 'b <break time="0.5s"/>'], "voices": ["a", "b"], "seed": 1, "temperature": 0.7, "top_k": 250},
    {"text": "\u2019", "return_timestamps": True, "cfg_alpha": 2},
]
CONTROLS = [{"type": "flush", "id": "turn"}, {"type": "flush", "id": 2**40}, {"type": "eos"}, {"type": "keepalive"}]
QUERIES = [
    {"format": "mulaw", "sample_rate": 8000, "words": "true", "vad": "1", "idle": "3.5"},
    {"resume": "true", "session": "25Nh1-NE", "seq": 12, "temperature": "0.7", "seed": 1},
    {"vad_head": 2, "vad_threshold": "0.5", "auth_id": "x", "token": "y"},
]


@functools.cache
def decoders() -> dict[str, Decoder]:
    """All of them, by name."""
    pcm = [bytes([kind, rate, size]) + SAMPLES[:700].tobytes() for kind in range(4) for rate, size in ((2, 6), (0, 99))]
    ogg = file_of("ogg", "libopus", 48_000)
    gates = [
        b"auth_id=public_token\n", b"\nkyutai-api-key: public_token", b"\nmodal-key: k\nmodal-secret: s",
        b"\nauthorization: Bearer " + token(), b"token=" + token(user={"id": "u", "status": "pending"}) + b"\n",
        b"\ncookie: better-auth.session_token=" + token(exp=1), b"\norigin: https://x.example\nhost: x.example",
    ]  # fmt: skip
    files = [file_of("wav", "pcm_s16le", 24_000), file_of("flac", "flac", 24_000), file_of("mp3", "libmp3lame", 24_000)]
    return {
        "MessagePack (moshi)": Decoder(moshi_seeds(), msgpack_codec, 0.3),
        "controls (/v1/stream)": Decoder([json.dumps(one).encode() for one in CONTROLS] + [b"EOS"], control, 0.2),
        "audio formats, cut anywhere": Decoder(pcm, sounds, 0.015),
        "Ogg/Opus": Decoder([bytes([size]) + ogg for size in (0, 5, 255)], opus, 0.01),
        "text to speech: MessagePack": Decoder(speech_seeds(), speech, 0.2),
        "text to speech: query": Decoder([urlencode(one).encode() for one in SPEECH_QUERIES], speech_query, 0.05),
        "text to speech: POST": Decoder([json.dumps(one).encode() for one in ORDERS], speech_body, 0.05),
        "query": Decoder([urlencode(one).encode() for one in QUERIES], query, 0.12),
        "headers, keys and tokens": Decoder(gates, headers, 0.05),
        "settings (TOML)": Decoder([path.read_bytes() for path in sorted(CONFIGS.rglob("*.toml"))], settings, 0.0025),
        "recordings (POST)": Decoder([*files, ogg], recording, 0.0025),
    }
