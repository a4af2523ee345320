"""Recordings made on the fly, one tone in each channel's own level, by encoders other than the code under test."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

Make = Callable[..., bytes]

SOUNDFILE = {  # suffix: libsndfile's format and subtype
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_24"),
    ".aiff": ("AIFF", "PCM_16"),
    ".au": ("AU", "PCM_16"),
    ".caf": ("CAF", "PCM_24"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
}
PYAV = {".m4a": ("mp4", "aac"), ".mp4": ("mp4", "aac"), ".aac": ("adts", "aac"), ".webm": ("webm", "libopus")}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def tone(hertz: float, seconds: float, rate: int, channels: int = 1) -> NDArray[np.float32]:
    """[samples, channels]: a tone at half of full scale."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def encode(suffix: str, samples: NDArray[np.float32], rate: int, **options: str) -> bytes:
    """A whole file of that kind; samples [n, channels]."""
    if suffix in PYAV:
        with tempfile.TemporaryDirectory() as folder:  # "faststart" opens its own output again, by name
            path = Path(folder) / "made"
            _encode_with_pyav(path, suffix, samples, rate, options)
            return path.read_bytes()
    file = io.BytesIO()
    container, subtype = SOUNDFILE[suffix]
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def _encode_with_pyav(
    path: Path, suffix: str, samples: NDArray[np.float32], rate: int, options: dict[str, str]
) -> None:
    container, codec = PYAV[suffix]
    with av.open(path, "w", format=container, options=options) as output:
        layout = LAYOUTS[samples.shape[1]]
        stream = output.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "flt", layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler("fltp" if codec == "aac" else "flt", layout, rate)
        for piece in resampler.resample(frame):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))


def video(seconds: float = 1.0, audio_from: float | None = None) -> bytes:
    """An MP4 with a grey picture; with a tone that starts `audio_from` seconds into it, or without any sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        picture = output.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 64
        sound = None if audio_from is None else output.add_stream("aac", rate=24_000, layout="mono")
        for _ in range(round(seconds * 10)):
            grey = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), "rgb24")
            output.mux(picture.encode(grey))
        output.mux(picture.encode(None))
        if sound is not None and audio_from is not None:
            frame = av.AudioFrame.from_ndarray(tone(440, 1.0, 24_000).reshape(1, -1), "fltp", "mono")
            frame.sample_rate, frame.pts = 24_000, round(audio_from * 24_000)
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return file.getvalue()


@pytest.fixture
def make() -> Make:
    """make(suffix, seconds=, rate=, channels=, hertz=, **options) gives the bytes of an encoded tone."""

    def made(
        suffix: str,
        *,
        seconds: float = 1.0,
        rate: int = 24_000,
        channels: int = 1,
        hertz: float = 440.0,
        **options: str,
    ) -> bytes:
        return encode(suffix, tone(hertz, seconds, rate, channels), rate, **options)

    return made


@pytest.fixture
def make_video() -> Make:
    return video


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    """wav(samples, rate=, subtype=) writes a WAV file and gives its path."""

    def written(samples: NDArray[np.float32], rate: int = 24_000, subtype: str = "FLOAT") -> Path:
        path = tmp_path / "made.wav"
        soundfile.write(path, samples, rate, subtype=subtype)
        return path

    return written
