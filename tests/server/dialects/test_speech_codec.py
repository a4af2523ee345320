"""moshi-server's text-to-speech messages, byte for byte (spec/moshi-server.md §6), and all that a query may say."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
import sphn
from starlette.datastructures import QueryParams

from vivavoce.core import Cleared, Flushed, Refused, Speech, SpeechEvent, StreamError, WordSpoken
from vivavoce.server.dialects import speech_codec as codec
from vivavoce.server.dialects.loudspeaker import Loudspeaker
from vivavoce.server.dialects.speech_wishes import SpeechWishes, speech_wishes

READY = bytes.fromhex("81a474797065a55265616479")


def packed(**message: object) -> bytes:
    return msgpack.packb(message, use_single_float=True)


# --- from the client ---


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        ("Hello", codec.Text("Hello")),
        ("", codec.Text("")),
        (b"\x00", codec.Eos()),
        (b"\x01", codec.Clear()),
        (b"\x02", codec.Flush(0)),
        (bytes.fromhex("82a474797065a5466c757368a26964fb"), codec.Flush(-5)),
        (bytes.fromhex("82a474797065a454657874a474657874a548656c6c6f"), codec.Text("Hello")),
        (bytes.fromhex("81a474797065a3456f73"), codec.Eos()),
        (bytes.fromhex("81a474797065a5436c656172"), codec.Clear()),
        (packed(type="Ping"), codec.Ping()),
        (packed(text="é", more=[1, {"x": 2}], type="Text"), codec.Text("é")),
        (msgpack.packb({b"type": b"Text", b"text": "日".encode()}), codec.Text("日")),
        (msgpack.packb(["Text", "a"]), codec.Text("a")),
        (msgpack.packb(["Eos"]), codec.Eos()),
        (packed(type="Eos") + b"trailing", codec.Eos()),
        (packed(type="Text", text="x" * 70_000), codec.Text("x" * 70_000)),
    ],
)  # fmt: skip
def test_what_a_client_may_say(message: bytes | str, request_: codec.Request) -> None:
    assert codec.decode(message) == request_


def test_the_voice_of_the_specification() -> None:
    data = bytes.fromhex("83a474797065a5566f696365aa656d62656464696e677392ca3f000000ca3f800000a5736861706593010102")
    voice = codec.decode(data)
    assert isinstance(voice, codec.Voice)
    assert voice.embedding.tolist() == [[0.5], [1.0]]  # two frames of width 1


@pytest.mark.parametrize("shape", [[1, 3, 2], [3, 2], [1, 1, 6], [6]])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_an_embedding_comes_out_with_its_frames_first(shape: list[int], as_bytes: bool) -> None:
    values = np.arange(6, dtype=np.float32)
    voice = codec.decode(
        packed(type="Voice", shape=shape, embeddings=values.tobytes() if as_bytes else values.tolist())
    )
    assert isinstance(voice, codec.Voice)
    channels = 3 if 3 in shape else 6 if len(shape) == 1 else 1
    np.testing.assert_array_equal(voice.embedding, values.reshape(channels, -1).T)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (b"", "breaks off"),
        (b"\x03", "starts with the byte 0x03"),
        (packed(type="text", text="x"), "unknown type 'text'; the types are Clear, Eos, Flush, Ping, Text, Voice"),
        (packed(text="x"), "no type"),
        (packed(type="Text"), "Text.text is missing"),
        (packed(type="Text", text=3), "Text.text must be a text"),
        (msgpack.packb({"type": "Text", "text": b"\xff"}), "Text.text is not UTF-8"),
        (packed(type="Voice", embeddings=[0.0] * 4, shape=[1, 2, 3]), r"shape \[1, 2, 3\] is not that of 4 embeddings"),
        (packed(type="Voice", embeddings=[0.0], shape=[]), "is not that of 1 embeddings"),
        (packed(type="Voice", embeddings=[0.0] * 4, shape=[2, 1, 2]), "must be that of one voice"),
        (packed(type="Voice", embeddings=[0.0] * 4, shape=[1, 1, 1, 4]), "is not that of 4"),
        (packed(type="Voice", embeddings=[0.0] * 2, shape=[1, 0.5, 4]), "is not that of 2"),
        (packed(type="Voice", embeddings=[float("nan")], shape=[1]), "must be finite"),
        (packed(type="Voice", embeddings=[0.0], shape=[float("inf")]), "is not that of"),
        (packed(type="Voice", embeddings="abc", shape=[1]), "must be an array of numbers"),
        (msgpack.packb([]), "empty array"),
        (b"\x82\xa4type\xa3Eos\xa4type\xa3Eos", "type is there twice"),
    ],
)  # fmt: skip
def test_what_a_client_may_not_say(message: bytes, line: str) -> None:
    with pytest.raises(StreamError, match=line):
        codec.decode(message)


# --- to the client ---


def test_the_messages_of_the_specification() -> None:
    word = (
        "84a474797065a454657874a474657874a548656c6c6fa773746172745f73cb3fc47ae147ae147ba673746f705f73cb3fdeb851eb851eb8"
    )
    assert codec.word("Hello", 0.16, 0.48).hex() == word
    audio = "82a474797065a5417564696fa370636d92ca00000000ca3f000000"
    assert codec.audio(np.array([0, 0.5], np.float32)).hex() == audio
    opus = "82a474797065a74f67674f707573a464617461954f676753ccff"
    assert codec.ogg_opus(b"OggS\xff").hex() == opus
    assert codec.clear().hex() == "81a474797065a5436c656172"
    assert codec.flush(-5).hex() == "82a474797065a5466c757368a26964fb"


@pytest.mark.parametrize("count", [0, 15, 16, 1920, 70_000])
def test_arrays_of_every_length_can_be_unpacked(count: int) -> None:
    samples = np.linspace(-0.99, 0.99, count, dtype=np.float32)
    assert msgpack.unpackb(codec.audio(samples)) == {"type": "Audio", "pcm": samples.tolist()}
    data = bytes(i % 256 for i in range(count))
    assert msgpack.unpackb(codec.ogg_opus(data)) == {"type": "OggOpus", "data": [*data]}


SILENCE = Speech(np.zeros(1920, np.float32))
WORD = WordSpoken("a", 0.0, 0.08)


def told(loudspeaker: Loudspeaker, event: SpeechEvent) -> bytes | None:
    return next(loudspeaker.tell(event), None)


def test_pcm_is_bare_and_has_no_words_for_anything_else() -> None:
    loudspeaker = Loudspeaker("Pcm")
    assert loudspeaker.begin() == []
    assert told(loudspeaker, Speech(np.array([0.5, -0.25], np.float32))) == bytes.fromhex("0000003f000080be")
    assert told(loudspeaker, WORD) is told(loudspeaker, Cleared(0.0)) is told(loudspeaker, Flushed(0)) is None
    assert len(told(loudspeaker, SILENCE) or b"") == 7680


def test_pcm_in_messagepack() -> None:
    loudspeaker = Loudspeaker("PcmMessagePack")
    assert loudspeaker.begin() == [READY]
    assert len(told(loudspeaker, SILENCE) or b"") == 9619
    assert told(loudspeaker, WORD) == codec.word("a", 0.0, 0.08)
    assert told(loudspeaker, Cleared(0.0)) == codec.clear()
    assert told(loudspeaker, Flushed(3)) == codec.flush(3)


def test_an_ogg_stream_begins_with_its_header_alone_and_has_two_pages_a_frame() -> None:
    loudspeaker = Loudspeaker("OggOpus")
    (header,) = loudspeaker.begin()
    assert header.count(b"OggS") == 2
    head = header[28:47]
    assert head == b"OpusHead\x01\x01\x00\x0f\x80\xbb\x00\x00\x00\x00\x00"  # mono, pre-skip 3840, 48 kHz, no gain
    assert header[14:18] == (42).to_bytes(4, "little")  # serial
    assert header.endswith(b"OpusTags\x0b\x00\x00\x00KyutaiMoshi\x00\x00\x00\x00")
    pages = told(loudspeaker, SILENCE)
    assert pages is not None
    assert pages.count(b"OggS") == 2
    assert int.from_bytes(pages[6:14], "little") == 1920  # 40 ms at 48 kHz
    reader = sphn.OpusStreamReader(24_000)
    tone = Speech(np.sin(np.arange(1920) * 0.1).astype(np.float32) * 0.5)
    decoded = [reader.append_bytes(header + pages)] + [reader.append_bytes(told(loudspeaker, tone)) for _ in range(20)]
    assert np.concatenate(decoded)[-4_800:].std() == pytest.approx(0.5 / 2**0.5, rel=0.1)


def test_ogg_in_messagepack() -> None:
    loudspeaker = Loudspeaker("OggOpusMessagePack")
    ready, header = loudspeaker.begin()
    assert ready == READY
    assert bytes(msgpack.unpackb(header)["data"])[:4] == b"OggS"
    assert bytes(msgpack.unpackb(told(loudspeaker, SILENCE) or b"")["data"])[:4] == b"OggS"


# --- the query ---


def test_every_parameter_is_read_and_other_names_are_passed_over() -> None:
    query = (
        "format=Pcm&voice=a%2Fb.wav&seed=18446744073709551615&temperature=0.5&top_k=9&cfg_alpha=1.5&auth_id=k&x=1&x=2"
    )
    asked = speech_wishes(QueryParams(query))
    assert asked == SpeechWishes("Pcm", "a/b.wav", 2**64 - 1, 0.5, 9, 1.5)
    assert asked.options == {"voices": ("a/b.wav",), "seed": 2**63 - 1, "temperature": 0.5, "top_k": 9, "cfg": 1.5}
    assert speech_wishes(QueryParams("")) == SpeechWishes("OggOpus")


@pytest.mark.parametrize("query", ["top_k=1", "top_k=0&temperature=0.8", "temperature=-1", "temperature=0"])
def test_one_candidate_or_no_temperature_takes_the_likeliest(query: str) -> None:
    options = speech_wishes(QueryParams(query)).options
    assert options["temperature"] == 0
    assert options["top_k"] is None


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("format=pcm", "format should be one of Pcm, PcmMessagePack, OggOpus, OggOpusMessagePack, got 'pcm'"),
        ("seed=-1", "seed should be an integer from 0 to 18446744073709551615, got '-1'"),
        ("seed=1.5", "seed should be an integer"),
        ("seed=٣", "seed should be an integer"),
        ("temperature=hot", "temperature should be a number, got 'hot'"),
        ("cfg_alpha=nan", "cfg_alpha should be a number"),
        ("top_k=", "top_k should be an integer"),
        ("voice=a&voice=b", "the parameter voice is there twice"),
        ("auth_id=a&auth_id=b", "the parameter auth_id is there twice"),
        ("voices=a", "voices cannot be given in a query"),
    ],
)
def test_impossible_values_are_refused_by_name(query: str, line: str) -> None:
    with pytest.raises(Refused, match=line) as refused:
        speech_wishes(QueryParams(query))
    assert refused.value.fault.status == 400
