"""Where transcripts are written: standard output, one file, or a folder with a file for each recording."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

import typer

from vivavoce.core import VivavoceError

from .formats import Format, Result, Style, array, one, table
from .inputs import Input


class Output(Protocol):
    def add(self, index: int, result: Result) -> None:
        """Take the transcript of input `index`; they come in order."""

    def close(self) -> None:
        """Write what had to wait for the end."""


def choose(target: str | None, inputs: Sequence[Input], count: int, style: Style) -> Output:
    """The output that `--output` asks for; `count` recordings were named, `inputs` of them can be read.

    Refuses what would overwrite a recording, or write two recordings to one file.
    """
    if target is not None and (Path(target).is_dir() or target.endswith(("/", os.sep))):
        return FolderOutput(_targets(Path(target), inputs, style.format), style)
    if count > 1 and style.format in (Format.SRT, Format.VTT):
        raise typer.BadParameter(f"{style.format} holds one recording; for several, give a folder: --output FOLDER/")
    if target is not None:
        _refuse_inputs([Path(target)], inputs)
    return StreamOutput(None if target is None else Path(target), style, several=count > 1)


class StreamOutput:
    """Everything into one stream; several transcripts are told apart by headings, a column, or their own "file"."""

    def __init__(self, path: Path | None, style: Style, *, several: bool) -> None:
        self._path, self._style, self._several = path, style, several
        self._file: IO[str] | None = None
        self._waiting: list[Result] = []  # for the end of a JSON array
        self._written = 0

    def add(self, index: int, result: Result) -> None:  # noqa: ARG002 - a stream needs no numbers
        if self._several and self._style.format is Format.JSON:
            self._waiting.append(result)
        else:
            self._write(self._piece(result))
        self._written += 1

    def close(self) -> None:
        if self._waiting or (self._several and self._style.format is Format.JSON and self._path is None):
            self._write(array(self._waiting, self._style))
        if self._file is not None:
            with _explained(self._path):
                self._file.close()

    def _piece(self, result: Result) -> str:
        if not self._several:
            return one(result, self._style)
        if self._style.format is Format.TSV:
            return table([result], named=True, header=self._written == 0)
        if self._style.format is Format.TEXT:
            return ("\n" if self._written else "") + f"==> {result.file} <==\n" + one(result, self._style)
        return one(result, self._style)

    def _write(self, text: str) -> None:
        if self._path is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        with _explained(self._path):
            if self._file is None:  # not before there is something to put in the old file's place
                self._file = self._path.open("w", encoding="utf-8", newline="\n", errors="backslashreplace")
            self._file.write(text)
            self._file.flush()


class FolderOutput:
    """A file for each recording, as soon as it is done."""

    def __init__(self, targets: Sequence[Path], style: Style) -> None:
        self._targets, self._style = targets, style

    def add(self, index: int, result: Result) -> None:
        path = self._targets[index]
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(one(result, self._style), "utf-8", errors="backslashreplace", newline="\n")

    def close(self) -> None:
        pass


def _targets(folder: Path, inputs: Sequence[Input], format: Format) -> list[Path]:
    """talk.wav becomes talk.srt; where talk.mp3 lies beside it, talk.wav.srt and talk.mp3.srt."""
    short = Counter(recording.below.with_suffix("") for recording in inputs)
    paths = []
    for recording in inputs:
        unique = short[recording.below.with_suffix("")] == 1
        stem = recording.below.stem if unique else recording.below.name
        paths.append(folder / recording.below.with_name(stem + format.suffix))
    for path, count in Counter(paths).items():
        if count > 1:
            names = " and ".join(at.name for at, goal in zip(inputs, paths, strict=True) if goal == path)
            raise typer.BadParameter(f"{names} would both be written to {path}")
    _refuse_inputs(paths, inputs)
    return paths


def _refuse_inputs(paths: Sequence[Path], inputs: Sequence[Input]) -> None:
    recordings = {at.source.resolve() for at in inputs if isinstance(at.source, Path)}
    for path in paths:
        if path.resolve() in recordings:
            raise typer.BadParameter(f"{path} is a recording and would be overwritten")


@contextlib.contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VivavoceError(f"{path}: cannot be written ({error.strerror or error})") from None
