"""Bytes to samples: any cut gives the same audio, G.711 and Opus as their peers read them, damage is named."""

from __future__ import annotations

import io
from itertools import pairwise

import av
import numpy as np
import pytest
import soxr
import sphn
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce.core import Fault, StreamError
from vivavoce.server.dialects.opus import OpusReader
from vivavoce.server.dialects.sound import Format, Samples, Sound, sound

patient = settings(deadline=None, max_examples=50)
TONE = (0.3 * np.sin(np.arange(12_000) * 0.1)).astype(np.float32)


def heard(reader: Sound, *messages: bytes) -> Samples:
    return np.concatenate([*(block for message in messages for block in reader.read(message)), reader.rest()])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(borders)]


DATA: dict[Format, bytes] = {
    "pcm_f32le": TONE.astype("<f4").tobytes(),
    "pcm_s16le": (TONE * 32_767).astype("<i2").tobytes(),
    "mulaw": bytes(range(256)) * 20,
    "alaw": bytes(range(256)) * 20,
}
WRITER = sphn.OpusStreamWriter(24_000)
OPUS = b"".join(WRITER.append_pcm(TONE[start : start + 1_920]) for start in range(0, 11_520, 1_920))


@patient
@given(st.sampled_from(sorted(DATA)), st.sampled_from([8_000, 16_000, 24_000, 44_100]), st.lists(st.integers(0, 10**6)))
def test_no_cut_changes_the_audio(format: Format, rate: int, places: list[int]) -> None:
    whole = heard(sound(format, rate), DATA[format])
    np.testing.assert_array_equal(heard(sound(format, rate), *cut(DATA[format], places)), whole)


@patient
@given(st.lists(st.integers(0, 10**6)))
def test_no_cut_changes_opus(places: list[int]) -> None:
    whole = sphn.OpusStreamReader(24_000).append_bytes(OPUS)
    np.testing.assert_array_equal(heard(sound("opus", 24_000), *cut(OPUS, places)), whole)


@pytest.mark.parametrize("format", ["mulaw", "alaw"])
def test_g711_is_what_ffmpeg_reads(format: Format) -> None:
    with av.open(io.BytesIO(bytes(range(256))), format=format) as container:
        expected = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    np.testing.assert_array_equal(heard(sound(format, 24_000), bytes(range(256))) * 32_768, expected.astype(np.float32))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_resampling_is_that_of_soxr(rate: int) -> None:
    expected = soxr.ResampleStream(rate, 24_000, 1, dtype="float32").resample_chunk(TONE, last=True)
    np.testing.assert_allclose(heard(sound("pcm_f32le", rate), DATA["pcm_f32le"]), expected, atol=1e-6)


def test_what_a_flush_draws_out_of_the_resampler_is_not_told_twice() -> None:
    reader = sound("pcm_f32le", 48_000)
    first = heard(reader, DATA["pcm_f32le"])
    assert len(first) == 6_000
    assert len(reader.rest()) == 0
    np.testing.assert_array_equal(heard(reader, DATA["pcm_f32le"]), first)


@pytest.mark.parametrize(
    "data",
    [np.array([0.5, np.nan], "<f4").tobytes(), np.array([np.inf], "<f4").tobytes(), DATA["pcm_s16le"]],
    ids=["NaN", "infinite", "16-bit integers"],
)
def test_what_cannot_be_float32_audio_is_hinted_at_and_the_next_message_is_heard(data: bytes) -> None:
    reader = sound("pcm_f32le", 24_000)
    with pytest.raises(StreamError, match=r"16-bit integers are sent with \?format=pcm_s16le") as caught:
        list(reader.read(data + b"cut"))
    assert caught.value.fault is Fault.INVALID_MESSAGE
    np.testing.assert_array_equal(heard(reader, DATA["pcm_f32le"]), TONE)


@pytest.mark.parametrize(
    "damage", [b"garbage", b"OggS" + b"\xff" * 600, b""], ids=["garbage", "a false page", "a hole"]
)
def test_behind_damage_opus_goes_on_at_the_next_page(damage: bytes) -> None:
    reader = OpusReader()
    found: list[Samples] = []
    with pytest.raises(StreamError, match="the Ogg/Opus stream is damaged"):
        found.extend(reader.read(OPUS[:400] + damage + OPUS[500:] + OPUS + OPUS))
    assert sum(map(len, found)) >= 11_520
    assert sum(map(len, reader.read(OPUS))) == 11_520


@patient
@given(st.binary(max_size=1_000), st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=20))
def test_damaged_opus_is_read_or_refused(noise: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(OPUS[:2_000])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    reader = OpusReader()
    for data in (bytes(damaged), noise):
        try:
            samples = sum(len(block) for block in reader.read(data))
        except StreamError:
            continue
        assert samples <= 120 * 24_000


def test_tiny_packets_come_in_blocks_that_fit_in_memory() -> None:
    """A packet of one byte can stand for many samples: a block is bounded, whatever the message."""
    page = b"OggS\0\0" + bytes(20) + b"\xff" + b"\1" * 255 + b"\xc8" * 255  # 5 ms each; the checksum is not looked at
    blocks = [len(block) for block in OpusReader().read(page * 200)]
    assert sum(blocks) == 200 * 255 * 120
    assert max(blocks) <= 2 * 255 * 120
