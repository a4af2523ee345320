"""Every format, rate and channel count comes out as mono float32 at 24 kHz, as long and as high as it went in."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from vivavoce import audio
from vivavoce.core import SAMPLE_RATE

Make = Callable[..., bytes]

LOSSLESS = [".wav", ".flac", ".aiff", ".au", ".caf"]
# Samples that a codec may add or drop: AAC's padding to whole frames of 1024 (raw ADTS keeps its priming too), Opus' to
# 20 ms, and a Vorbis block where the whole stream fits in one Ogg page.
LOSSY = {".mp3": 60, ".ogg": 1024, ".opus": 960, ".m4a": 2048, ".mp4": 2048, ".aac": 3072, ".webm": 960}
RATES = {".mp3": [8_000, 22_050, 44_100], ".opus": [8_000, 48_000], ".webm": [16_000, 48_000]}
ODD_RATES = [8_000, 11_025, 22_050, 44_100, 48_000, 96_000]


def cases() -> list[tuple[str, int, int]]:
    kinds = [*LOSSLESS, *LOSSY]
    rates = {kind: RATES.get(kind, ODD_RATES) for kind in kinds}
    channels = {".mp3": (1, 2)}  # MP3 knows no more than two
    return [(kind, rate, count) for kind in kinds for rate in rates[kind] for count in channels.get(kind, (1, 2, 6))]


def peak_hertz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


@pytest.mark.parametrize(("suffix", "rate", "channels"), cases())
def test_a_tone_keeps_its_length_pitch_and_level(make: Make, suffix: str, rate: int, channels: int) -> None:
    samples = audio.load(make(suffix, seconds=1.5, rate=rate, channels=channels, hertz=440))

    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) / SAMPLE_RATE == pytest.approx(1.5, abs=(1 + LOSSY.get(suffix, 0)) / rate)
    assert peak_hertz(samples) == pytest.approx(440, abs=1)
    level = float(np.sqrt(np.mean(np.square(samples[4_800:-4_800]))))
    # AAC and Opus treat the sixth channel of 5.1 as a subwoofer and cut the tone out of it.
    assert level == pytest.approx(0.5 / np.sqrt(2), rel=0.05 if channels < 6 else 0.25)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"])
def test_every_kind_of_wav_sample_is_read_as_libsndfile_reads_it(wav: Callable[..., Path], subtype: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (5_000, 2)).astype(np.float32)
    path = wav(noise, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")

    np.testing.assert_allclose(audio.load(path), expected.mean(1), atol=1e-7)


def test_channels_are_averaged(wav: Callable[..., Path]) -> None:
    channels = np.stack([np.full(2_400, level, np.float32) for level in (0.1, 0.2, 0.6)], axis=1)

    np.testing.assert_allclose(audio.load(wav(channels)), 0.3, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_streamed_resampling_equals_resampling_in_one_go(wav: Callable[..., Path], rate: int) -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 3 * rate).astype(np.float32)

    samples, expected = audio.load(wav(noise, rate)), soxr.resample(noise, rate, SAMPLE_RATE)

    np.testing.assert_allclose(samples, expected, atol=1e-5)


def test_a_file_may_come_as_bytes_path_or_string(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(make(".wav"))

    whole = audio.load(path)

    np.testing.assert_array_equal(audio.load(str(path)), whole)
    np.testing.assert_array_equal(audio.load(path.read_bytes()), whole)


def test_the_suffix_does_not_decide_what_a_file_is(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "really-flac.mp3"
    path.write_bytes(make(".flac"))

    assert len(audio.load(path)) == SAMPLE_RATE


def test_a_named_pipe_is_read_to_its_end(tmp_path: Path, make: Make) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(make(".wav"),))
    writer.start()

    assert len(audio.load(pipe)) == SAMPLE_RATE
    writer.join()


def test_sound_that_starts_late_in_a_video_keeps_its_time(make_video: Make) -> None:
    samples = audio.load(make_video(seconds=3.0, audio_from=1.5))

    loud = np.flatnonzero(np.abs(samples) > 0.1)
    assert loud[0] / SAMPLE_RATE == pytest.approx(1.5, abs=0.06)


def test_a_gap_in_the_timestamps_is_silence() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=24_000, layout="mono")
        for start in (0, 72_000):  # one second of sound at 0 s and at 3 s
            frame = av.AudioFrame.from_ndarray(np.full((1, 24_000), 8_000, np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 24_000, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    samples = audio.load(file.getvalue())

    assert len(samples) == 4 * SAMPLE_RATE
    assert not samples[SAMPLE_RATE : 3 * SAMPLE_RATE].any()
    assert samples[3 * SAMPLE_RATE :].all()


def test_chained_ogg_streams_of_different_rates_follow_each_other(make: Make) -> None:
    chained = make(".ogg", rate=44_100) + make(".ogg", rate=44_100)

    assert len(audio.load(chained)) / SAMPLE_RATE == pytest.approx(2.0, abs=0.01)


def test_silence_is_audio(wav: Callable[..., Path]) -> None:
    assert not audio.load(wav(np.zeros(4_800, np.float32))).any()


def test_every_suffix_that_folders_are_searched_for_is_lower_case_with_a_dot() -> None:
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in audio.SUFFIXES)
    assert {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".mp4"} <= audio.SUFFIXES
