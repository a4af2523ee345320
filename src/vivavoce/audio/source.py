"""Where a recording comes from: a path, the bytes of a whole file, an open file; in the end a seekable binary file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from vivavoce.core import AudioNotFoundError, InvalidAudioError

Samples = npt.NDArray[np.float32]  # [samples]
Source = str | os.PathLike[str] | bytes | BinaryIO  # a path, the bytes of a whole file, or a file that can seek

# What a folder is searched for. Containers that usually hold something else (.ts, .avi) are read only when named.
_LOSSLESS = (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".snd", ".w64", ".wav", ".wave", ".wv")
_LOSSY = (".aac", ".ac3", ".amr", ".m4a", ".m4b", ".mka", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".weba", ".wma")
_VIDEO = (".3gp", ".mkv", ".mov", ".mp4", ".webm")
SUFFIXES = frozenset(_LOSSLESS + _LOSSY + _VIDEO)


def name_of(source: Source) -> str:
    """What messages call this source."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "stdin"


def open_source(source: Source, name: str) -> BinaryIO:
    """Open for reading, seekable (a pipe is read to its end first); refuses what cannot be read and empty files."""
    if isinstance(source, str | os.PathLike):
        file = _open_path(Path(source), name)
    else:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
    if file.seek(0, os.SEEK_END) == 0:
        file.close()
        raise InvalidAudioError(f"{name}: the file is empty (0 bytes)")
    file.seek(0)
    return file


def _open_path(path: Path, name: str) -> BinaryIO:
    try:
        file = path.open("rb")
        if file.seekable():
            return file
        with file:
            return io.BytesIO(file.read())
    except FileNotFoundError:
        raise AudioNotFoundError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise AudioNotFoundError(f"{name}: is a directory, not a recording") from None
    except PermissionError:
        raise AudioNotFoundError(f"{name}: permission denied") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise AudioNotFoundError(f"{name}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
