"""moshi-server's messages: its own hex dumps, the msgpack package as peer, and whatever else a client may send."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vivavoce.core import Fault, StreamError
from vivavoce.server.dialects import moshi_codec as codec
from vivavoce.server.dialects.moshi_codec import Audio, Init, Marker, OggOpus, Ping, decode
from vivavoce.server.dialects.msgpack import MOST_SKIPPED

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.one_of(
    st.floats(width=32),
    st.floats(-3e38, 3e38),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-40, 140),
    st.sampled_from([0, 1, -1]),
)


def pack(message: Any, single: bool = False) -> bytes:
    return msgpack.packb(message, use_single_float=single)


def read_or_refuse(data: bytes) -> None:
    """Any other exception is the test's failure."""
    with suppress(StreamError):
        decode(data)


def refused(data: bytes) -> str:
    with pytest.raises(StreamError) as caught:
        decode(data)
    assert caught.value.fault is Fault.INVALID_MESSAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what the server says ---

TOLD = [
    (codec.ready(), "81 a4 74797065 a5 5265616479"),
    (
        codec.word("hello", 1.44),
        "83 a4 74797065 a4 576f7264 a4 74657874 a5 68656c6c6f aa 73746172745f74696d65 cb 3ff70a3d70a3d70a",
    ),
    (codec.end_word(1.84), "82 a4 74797065 a7 456e64576f7264 a9 73746f705f74696d65 cb 3ffd70a3d70a3d71"),
    (codec.marker(0), "82 a4 74797065 a6 4d61726b6572 a2 6964 00"),
    (codec.marker(1_700_000_000_123), "82 a4 74797065 a6 4d61726b6572 a2 6964 cf 0000018bcfe5687b"),
    (codec.marker(-5), "82 a4 74797065 a6 4d61726b6572 a2 6964 fb"),
    (
        codec.step(3, (0.5, 0.25, 0.125, 1), 0),
        "84 a4 74797065 a4 53746570 a8 737465705f696478 03 a3 707273 94 ca3f000000 ca3e800000 ca3e000000 ca3f800000"
        "ac 62756666657265645f70636d 00",
    ),
    (
        codec.step(70_000, (0.5,), 24_000),
        "84 a4 74797065 a4 53746570 a8 737465705f696478 ce00011170 a3 707273 91 ca3f000000"
        "ac 62756666657265645f70636d cd5dc0",
    ),
    (
        codec.error("no free channels"),
        "82 a4 74797065 a5 4572726f72 a7 6d657373616765 b0 6e6f2066726565206368616e6e656c73",
    ),
]


@pytest.mark.parametrize(("told", "dump"), TOLD, ids=lambda value: value[:24] if isinstance(value, str) else "")
def test_the_server_says_the_bytes_that_moshi_server_says(told: bytes, dump: str) -> None:
    assert told == bytes.fromhex(dump)


@given(INT64)
@example(127)
@example(-32)
@example(-33)
@example(-(2**15) - 1)
@example(2**32)
def test_integers_take_as_few_bytes_as_they_can(id: int) -> None:
    assert codec.marker(id) == pack({"type": "Marker", "id": id})


@given(st.text(), st.floats(allow_nan=False))
@example("x" * 31, 0)
@example("x" * 255, 0)
@example("x" * 256, 0)
@example("x" * 65_536, 0)
def test_words_are_those_of_the_peer(text: str, time: float) -> None:
    assert codec.word(text, time) == pack({"type": "Word", "text": text, "start_time": float(time)})
    assert codec.end_word(time) == pack({"type": "EndWord", "stop_time": float(time)})
    assert codec.error(text) == pack({"type": "Error", "message": text})


@given(st.integers(0, 2**40), st.lists(st.floats(0, 1, width=32), max_size=20), st.integers(0, 2**40))
def test_steps_are_those_of_the_peer(index: int, pauses: list[float], buffered: int) -> None:
    message = {"type": "Step", "step_idx": index, "prs": pauses, "buffered_pcm": buffered}
    assert codec.step(index, pauses, buffered) == pack(message, single=True)


# --- what clients say ---

HEARD: list[tuple[str, Any]] = [
    ("81 a4 74797065 a4 496e6974", Init()),
    ("81 a4 74797065 a4 50696e67", Ping()),
    ("82 a4 74797065 a6 4d61726b6572 a2 6964 00", Marker(0)),
    ("82 a4 74797065 a7 4f67674f707573 a4 64617461 95 4f 67 67 53 cc80", OggOpus(b"OggS\x80")),
]


@pytest.mark.parametrize(("dump", "request_"), HEARD, ids=[dump[18:40] for dump, _ in HEARD])
def test_the_dumps_of_client_messages_are_understood(dump: str, request_: codec.Request) -> None:
    assert decode(bytes.fromhex(dump)) == request_


def test_the_dump_of_an_audio_message_is_understood() -> None:
    dump = "82 a4 74797065 a5 417564696f a3 70636d 93 ca00000000 ca3f000000 cabf800000"
    assert samples(bytes.fromhex(dump)).tolist() == [0.0, 0.5, -1.0]


def samples(data: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    audio = decode(data)
    assert isinstance(audio, Audio)
    assert audio.pcm.dtype == np.float32
    assert audio.pcm.ndim == 1
    return audio.pcm


def as_float32(values: list[float]) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array([float(value) for value in values]).astype(np.float32)


@patient
@given(st.lists(NUMBERS, max_size=60), st.booleans(), st.booleans())
def test_samples_of_any_mixture_of_widths_are_those_of_the_peer(
    values: list[float], single: bool, type_first: bool
) -> None:
    message = {"type": "Audio", "pcm": values} if type_first else {"pcm": values, "type": "Audio"}
    expected = as_float32(msgpack.unpackb(pack(values, single)))
    np.testing.assert_array_equal(samples(pack(message, single)), expected)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 1_920, 24_000, 70_000])
@pytest.mark.parametrize("kind", ["f32", "f64", "int", "mixed", "bytes"])
def test_messages_of_every_length_are_understood(count: int, kind: str) -> None:
    random = np.random.default_rng(count)
    values = random.standard_normal(count).astype(np.float32)
    sent: Any = values.tolist()
    if kind == "int":
        values = np.rint(values * 1000).astype(np.float32)
        sent = [int(value) for value in values]
    elif kind == "mixed":
        values[random.random(count) < 0.5] = 0
        sent = [int(value) if value == 0 else float(value) for value in values]
    elif kind == "bytes":
        sent = values.astype("<f4").tobytes()
    np.testing.assert_array_equal(samples(pack({"type": "Audio", "pcm": sent}, kind == "f32")), values)


def test_samples_that_are_no_numbers_of_float32_reach_the_stream_which_refuses_them() -> None:
    assert np.isnan(samples(pack({"type": "Audio", "pcm": [float("nan")]}))).all()
    assert np.isinf(samples(pack({"type": "Audio", "pcm": [1e300, 0]}))).tolist() == [True, False]


@given(st.binary(max_size=300), st.booleans())
def test_opus_is_an_array_of_integers_or_bytes(data: bytes, as_bytes: bool) -> None:
    assert decode(pack({"type": "OggOpus", "data": data if as_bytes else list(data)})) == OggOpus(data)


LENIENT = {
    "keys in any order": pack({"id": 3, "type": "Marker"}),
    "unknown keys": pack({"a": {"b": [1, None, "x", b"y", {}]}, "type": "Marker", 7: 1, None: 2, "id": 3, "z": -1.5}),
    "the field of another type": pack({"pcm": None, "type": "Marker", "data": "no", "id": 3}),
    "keys and type as bytes": pack({b"type": b"Marker", b"id": 3}),
    "long forms": bytes.fromhex("de0002 d90474797065 da00064d61726b6572 db000000026964 d30000000000000003"),
    "an array": pack(["Marker", 3]),
    "an array with more in it": pack(["Marker", 3, "x"]),
    "the type as its index": pack({"type": 1, "id": 3}),
    "both": pack([1, 3]),
    "bytes behind it": pack({"type": "Marker", "id": 3}) + b"\xc1rest",
    "extension types": bytes.fromhex("83 a161 d60100000000 a4 74797065 a6 4d61726b6572 a2 6964 03"),
}


@pytest.mark.parametrize("data", LENIENT.values(), ids=LENIENT.keys())
def test_whatever_serde_takes_is_taken(data: bytes) -> None:
    assert decode(data) == Marker(3)


@given(INT64)
def test_a_marker_keeps_its_id(id: int) -> None:
    assert decode(pack({"type": "Marker", "id": id})) == Marker(id)


AUDIO, DATA = {"type": "Audio"}, {"type": "OggOpus"}
WRONG = {
    "nothing": (b"", "breaks off"),
    "one zero byte": (b"\0", "a message is a MessagePack map"),
    "a bare text": (pack("Init"), "a message is a MessagePack map"),
    "nil": (pack(None), "a message is a MessagePack map"),
    "an empty map": (pack({}), "has no type"),
    "an empty array": (pack([]), "an empty array"),
    "no type": (pack({"pcm": [0.5]}), "has no type"),
    "the wrong case": (pack({"type": "audio", "pcm": []}), "unknown type 'audio'"),
    "an unknown type": (
        pack({"type": "Text"}),
        "unknown type 'Text'; the types are Audio, Init, Marker, OggOpus, Ping",
    ),
    "a type that is no name": (pack({"type": None}), "unknown type None"),
    "an index too far": (pack([4]), "unknown type 4"),
    "tagged from outside": (pack({"Audio": {"pcm": [0.5]}}), "has no type"),
    "two types": (b"\x82\xa4type\xa4Init\xa4type\xa4Init", "type is there twice"),
    "two fields": (b"\x83\xa4type\xa6Marker\xa2id\x01\xa2id\x01", "id is there twice"),
    "no samples": (pack(AUDIO), "Audio.pcm is missing"),
    "an array without its field": (pack(["Marker"]), "Marker.id is missing"),
    "a hole in the samples": (pack({**AUDIO, "pcm": [0.5, None]}), "Audio.pcm must hold only numbers, got nil"),
    "a truth in the samples": (pack({**AUDIO, "pcm": [True]}), "Audio.pcm must hold only numbers, got true"),
    "a text for the samples": (
        pack({**AUDIO, "pcm": "x"}),
        "Audio.pcm must be an array of numbers or bytes, got a text",
    ),
    "a third of a sample": (pack({**AUDIO, "pcm": b"12345"}), "its length of 5 is not a multiple of 4"),
    "an id with a fraction": (pack({"type": "Marker", "id": 1.0}), "Marker.id must be an integer, got a float"),
    "an id of text": (pack({"type": "Marker", "id": "1"}), "Marker.id must be an integer, got a text"),
    "an id too large": (pack({"type": "Marker", "id": 2**63}), "Marker.id must fit in 64 bits"),
    "a byte too large": (pack({**DATA, "data": [256]}), "OggOpus.data must be integers from 0 to 255"),
    "a byte too small": (pack({**DATA, "data": [-1]}), "OggOpus.data must be integers from 0 to 255"),
    "half a byte": (pack({**DATA, "data": [0.5]}), "OggOpus.data must be integers from 0 to 255"),
    "a byte that means nothing": (b"\x82\xa1x\xc1\xa4type\xa4Init", "0xc1 stands for nothing"),
    "a promise of four thousand million": (
        b"\x82\xa4type\xa5Audio\xa3pcm\xdd\xff\xff\xff\xff\xca\0\0\0\0",
        "promises 4294967295 elements, only 5 bytes are left",
    ),
    "more maps than anyone counts": (b"\x82\xa1x" + b"\x81" * 100_000, "breaks off|no part of it"),
    "more keys than anyone counts": (
        b"\xdf" + struct.pack(">I", 10_000) + b"\xa1x\xc0" * 10_000,
        f"more than {MOST_SKIPPED} values",
    ),
}


@pytest.mark.parametrize(("data", "why"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(data: bytes, why: str) -> None:
    with pytest.raises(StreamError, match=why) as caught:
        decode(data)
    assert caught.value.fault is Fault.INVALID_MESSAGE


def test_deep_nesting_neither_recurses_nor_hangs() -> None:
    assert decode(b"\x82\xa1x" + b"\x91" * 4_000 + b"\x01" + b"\xa4type\xa4Ping") == Ping()
    assert "no part of it" in refused(b"\x82\xa1x" + b"\x91" * 10**6 + b"\x01" + b"\xa4type\xa4Ping")


def test_many_numbers_under_an_unknown_key_are_passed_over() -> None:
    assert decode(pack({"x": [0.5, 1] * 100_000, "type": "Ping"})) == Ping()


@patient
@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_mean_something_or_be_refused(data: bytes) -> None:
    read_or_refuse(data)


MESSAGES = [
    *LENIENT.values(),
    *(data for data, _ in WRONG.values() if len(data) < 1_000),
    pack({**AUDIO, "pcm": [0.5] * 50}),
]


@patient
@given(st.sampled_from(MESSAGES), st.data())
def test_damaged_messages_mean_something_or_are_refused(message: bytes, data: st.DataObject) -> None:
    damaged = bytearray(message)
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))


@patient
@given(
    st.recursive(
        st.none() | st.booleans() | NUMBERS | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.dictionaries(st.sampled_from(["type", "pcm", "id", "data"]) | st.text(), inner, max_size=5)
        ),
    )
)
def test_whatever_the_peer_packs_means_something_or_is_refused(value: Any) -> None:
    read_or_refuse(pack(value))
