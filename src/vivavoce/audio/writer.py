"""Audio as it comes, float32 at 24 kHz, to a file or a pipe: complete to the last sample. FFmpeg (PyAV) encodes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, get_args

import av
import numpy as np
import soxr
from av.audio.frame import AudioFrame

from vivavoce.core import SAMPLE_RATE, UnsupportedError, VivavoceError

from .source import Samples

Format = Literal[
    "wav", "flac", "opus", "mp3", "aac", "pcm_s16le", "pcm_f32le", "mulaw", "alaw", "wav_mulaw", "wav_alaw"
]
FORMATS: tuple[Format, ...] = get_args(Format)
BITS = 48_000  # a second, of lossy formats; Opus is transparent for speech at 24 kHz from 32,000 on
_SUFFIXES: dict[str, Format] = {
    ".wav": "wav", ".wave": "wav", ".flac": "flac", ".opus": "opus", ".ogg": "opus", ".oga": "opus",
    ".pcm": "pcm_s16le", ".raw": "pcm_s16le", ".mp3": "mp3", ".aac": "aac",
}  # fmt: skip
_ENCODERS = {  # container, codec
    "wav": ("wav", "pcm_s16le"), "flac": ("flac", "flac"), "opus": ("ogg", "libopus"), "mp3": ("mp3", "libmp3lame"),
    "aac": ("adts", "aac"), "mulaw": ("mulaw", "pcm_mulaw"), "alaw": ("alaw", "pcm_alaw"),
    "wav_mulaw": ("wav", "pcm_mulaw"), "wav_alaw": ("wav", "pcm_alaw"),
}  # fmt: skip
_LOSSY = ("opus", "mp3", "aac")


def format_of(path: Path) -> Format:
    """The format that a file's name asks for. Raises UnsupportedError."""
    if (found := _SUFFIXES.get(path.suffix.lower())) is None:
        known = ", ".join(_SUFFIXES)
        raise UnsupportedError(f"{path}: the name tells no format of audio that can be written ({known})")
    return found


def pcm16(samples: Samples) -> bytes:
    """Little-endian integers [n]. Clamped: what is louder than full scale stays loud."""
    return _integers(samples).tobytes()


def save(path: str | os.PathLike[str], samples: Samples, format: Format | None = None) -> None:
    """Write float32 [n] at 24 kHz, mono, as what the name says or else `format`. Raises as `Writer`."""
    with Writer.create(Path(path), format) as writer:
        writer.write(samples)


class Writer:
    """`with Writer.create(path) as writer: writer.write(samples)`; what was written is whole when the block ends.

    Integers have 16 bits. A pipe is written to as the audio comes; sizes that cannot be known stay unknown there.
    """

    def __init__(
        self,
        file: BinaryIO,
        format: Format,
        name: str,
        *,
        owned: bool = False,
        rate: int = SAMPLE_RATE,
        bits: int = BITS,
    ) -> None:
        """`owned`: the file is closed with the writer. `rate` in Hz of what is written, `bits` a second if lossy.

        Raises UnsupportedError for a rate that the format does not have.
        """
        self._file, self._format, self._name, self._owned, self._rate = file, format, name, owned, rate
        self.samples = 0  # written
        self._placed = 0  # samples at `rate` that the encoder has
        self._resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(SAMPLE_RATE, rate, 1, dtype="float32")
        self._container: Any = None
        if format in _ENCODERS:
            container, codec = _ENCODERS[format]
            _refuse_rate(format, codec, rate)
            options = {"flush_packets": "1"} | ({"page_duration": "80000"} if container == "ogg" else {})
            if container == "mp3" and not file.seekable():
                options["write_xing"] = "0"  # a count of frames that could not be filled in
            self._container = av.open(_Sink(file), "w", format=container, options=options)
            lossy = {"bit_rate": bits} if format in _LOSSY else {}
            self._stream = self._container.add_stream(codec, rate=rate, layout="mono", **lossy)

    @classmethod
    def create(cls, path: Path, format: Format | None = None) -> Self:
        """Over a file that is created or overwritten. Raises UnsupportedError, and VivavoceError where it cannot be."""
        chosen = format or format_of(path)
        try:
            return cls(path.open("wb"), chosen, str(path), owned=True)
        except OSError as error:
            raise _explained(str(path), error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write(self, samples: Samples) -> None:
        """More audio, float32 [n]. Raises VivavoceError when it cannot be written, BrokenPipeError for a pipe."""
        try:
            self._put(self._resampler.resample_chunk(samples) if self._resampler else samples)
            self._file.flush()
        except OSError as error:
            self._container = self._resampler = None  # nothing can be ended any more
            raise _explained(self._name, error) from None
        self.samples += len(samples)

    def close(self) -> None:
        """Everything out of the encoder and into the file."""
        try:
            if self._resampler:
                self._put(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
                self._resampler = None
            if self._container is not None:
                container, self._container = self._container, None
                self._encode(container, None)
                container.close()
            self._file.flush()
        except OSError as error:
            raise _explained(self._name, error) from None
        finally:
            if self._owned:
                with suppress(OSError):  # it was raised by the flush
                    self._file.close()

    def _put(self, samples: Samples) -> None:
        if self._container is None:
            self._file.write(samples.astype("<f4").tobytes() if self._format == "pcm_f32le" else pcm16(samples))
        elif len(samples):
            self._encode(self._container, self._frame(samples))

    def _frame(self, samples: Samples) -> AudioFrame:
        frame = AudioFrame.from_ndarray(_integers(samples)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._rate, self._placed
        self._placed += len(samples)
        return frame

    def _encode(self, container: Any, frame: AudioFrame | None) -> None:
        for packet in self._stream.encode(frame):
            container.mux(packet)


class _Sink:
    """What FFmpeg writes to: without `seek` where the file is a pipe."""

    def __init__(self, file: BinaryIO) -> None:
        self.write, self.flush = file.write, file.flush
        if file.seekable():
            self.seek, self.tell = file.seek, file.tell


def _refuse_rate(format: Format, codec: str, rate: int) -> None:
    rates = av.codec.Codec(codec, "w").audio_rates
    if rates and rate not in rates:
        raise UnsupportedError(f"{format} has no sample rate of {rate} Hz; it has {', '.join(map(str, sorted(rates)))}")


def _integers(samples: Samples) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.round(np.clip(samples, -1.0, 1.0) * 32_767).astype("<i2")


def _explained(name: str, error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):  # the reader of a pipe has heard enough
        return error
    return VivavoceError(f"{name}: cannot be written ({error.strerror or error})")
