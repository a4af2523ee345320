"""Where speech goes: a file, standard output, a speaker."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Protocol, Self

from vivavoce.audio import Samples, Writer
from vivavoce.audio.writer import Format, format_of
from vivavoce.core import UnsupportedError, VivavoceError


class Sink(Protocol):
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *error: object) -> None: ...

    async def play(self, samples: Samples) -> None:
        """More audio, float32 [n] at 24 kHz."""

    async def drain(self) -> None:
        """Until all of it is where it belongs."""

    def clear(self) -> None:
        """What nobody has heard yet is not wanted any more."""


class FileSink:
    """A file, or standard output for `-`; not touched before there is something to put in its place."""

    def __init__(self, target: str, format: Format | None) -> None:
        """Raises UnsupportedError for a name without a format, VivavoceError where nothing can be written."""
        self._path = None if target == "-" else Path(target)
        self._format: Format = format or ("wav" if self._path is None else format_of(self._path))
        self._writer: Writer | None = None
        if self._path is not None:
            _refuse_unwritable(self._path)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    async def play(self, samples: Samples) -> None:
        if self._writer is None:
            if self._path is None:
                self._writer = Writer(sys.stdout.buffer, self._format, "standard output")
            else:
                self._writer = Writer.create(self._path, self._format)
        self._writer.write(samples)

    async def drain(self) -> None:
        pass

    def clear(self) -> None:
        pass


def speaker(wanted: str | None, prebuffer: float) -> Sink:
    """The default speaker, or the one of that number or name. Raises UnsupportedError."""
    from vivavoce.audio.devices import choose, devices
    from vivavoce.audio.player import Player

    found = devices("output")
    if not found:
        raise UnsupportedError("no speaker: this machine has no output device; --output FILE writes a file")
    return Player(choose(found, wanted, "output"), prebuffer)


def _refuse_unwritable(path: Path) -> None:
    """What can be known before there is audio: a model takes a while to load."""
    folder = path.parent
    if path.is_dir():
        why = "it is a folder"
    elif not folder.is_dir():
        why = f"there is no folder {folder}"
    elif not os.access(path if path.exists() else folder, os.W_OK):
        why = "permission denied"
    else:
        return
    raise VivavoceError(f"{path}: cannot be written ({why})")
