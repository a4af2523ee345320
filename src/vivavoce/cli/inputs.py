"""What is to be transcribed: files, what folders hold, standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vivavoce.core import AudioNotFoundError


@dataclass(frozen=True)
class Input:
    """One recording: what the user calls it, where it is, and its place below the folder it was found in."""

    name: str
    source: Path | bytes
    below: Path  # relative; names its result in an output folder


def expand(arguments: Iterable[str]) -> Iterator[Input | AudioNotFoundError]:
    """Every recording in the order of the arguments; folders recursively, sorted, audio suffixes only."""
    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            yield Input("-", sys.stdin.buffer.read(), Path("stdin"))
        elif not argument:  # a variable of the shell that is not set, and no wish for all that is in this folder
            yield AudioNotFoundError("'': no file has an empty name")
        elif path.is_dir():
            yield from _search(path)
        elif path.is_fifo() or path.is_char_device():  # can be read only once, and it is read twice
            yield Input(_readable(path), path.read_bytes(), Path(path.name))
        else:
            yield Input(_readable(path), path, Path(path.name))


def _readable(path: Path) -> str:
    """The name as UTF-8 in any locale; bytes that are not UTF-8 as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _search(folder: Path) -> Iterator[Input | AudioNotFoundError]:
    from vivavoce.audio import SUFFIXES

    found = sorted(path for path in _walk(folder) if path.suffix.lower() in SUFFIXES)
    if not found:
        yield AudioNotFoundError(f"{_readable(folder)}: no audio files in this folder")
    for path in found:
        yield Input(_readable(path), path, path.relative_to(folder))


def _walk(folder: Path) -> Iterator[Path]:
    """Files below, except hidden ones (macOS puts a `._song.mp3` beside every song)."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))
