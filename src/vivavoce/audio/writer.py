"""Audio as it comes, float32 at 24 kHz, to a file or a pipe: complete to the last sample. FFmpeg (PyAV) encodes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, get_args

import av
import numpy as np
from av.audio.frame import AudioFrame

from vivavoce.core import SAMPLE_RATE, UnsupportedError, VivavoceError

from .source import Samples

Format = Literal["wav", "flac", "opus", "pcm_s16le", "pcm_f32le"]
FORMATS: tuple[Format, ...] = get_args(Format)
OPUS_BITS = 48_000  # a second; speech at 24 kHz is transparent from 32,000 on
_SUFFIXES: dict[str, Format] = {
    ".wav": "wav", ".wave": "wav", ".flac": "flac", ".opus": "opus", ".ogg": "opus", ".oga": "opus",
    ".pcm": "pcm_s16le", ".raw": "pcm_s16le",
}  # fmt: skip
_ENCODERS = {"wav": ("wav", "pcm_s16le"), "flac": ("flac", "flac"), "opus": ("ogg", "libopus")}  # container, codec


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

    def __init__(self, file: BinaryIO, format: Format, name: str, *, owned: bool = False) -> None:
        """`owned`: the file is closed with the writer."""
        self._file, self._format, self._name, self._owned = file, format, name, owned
        self.samples = 0  # written
        self._container: Any = None
        if format in _ENCODERS:
            container, codec = _ENCODERS[format]
            options = {"flush_packets": "1"} | ({"page_duration": "80000"} if container == "ogg" else {})
            self._container = av.open(_Sink(file), "w", format=container, options=options)
            bits = {"bit_rate": OPUS_BITS} if format == "opus" else {}
            self._stream = self._container.add_stream(codec, rate=SAMPLE_RATE, layout="mono", **bits)

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
            if self._container is None:
                self._file.write(pcm16(samples) if self._format == "pcm_s16le" else samples.astype("<f4").tobytes())
            elif len(samples):
                self._encode(self._container, self._frame(samples))
            self._file.flush()
        except OSError as error:
            self._container = None  # nothing can be ended any more
            raise _explained(self._name, error) from None
        self.samples += len(samples)

    def close(self) -> None:
        """Everything out of the encoder and into the file."""
        try:
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

    def _frame(self, samples: Samples) -> AudioFrame:
        frame = AudioFrame.from_ndarray(_integers(samples)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, self.samples
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


def _integers(samples: Samples) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.round(np.clip(samples, -1.0, 1.0) * 32_767).astype("<i2")


def _explained(name: str, error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):  # the reader of a pipe has heard enough
        return error
    return VivavoceError(f"{name}: cannot be written ({error.strerror or error})")
