"""One run of `transcribe`: what can be read is heard in one batch, results leave in the order of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Protocol

import numpy as np

from vivavoce import audio
from vivavoce.core import ExitCode, Transcript, VivavoceError

from .console import complain, note
from .formats import Result, Style
from .inputs import Input, expand
from .outputs import Output, choose
from .progress import bar


class Hears(Protocol):
    """Recordings to transcripts: a model in this process (`vivavoce.Transcriber`) or a server."""

    @property
    def name(self) -> str:
        """The model's."""

    def transcribe_all(
        self, recordings: Iterable[Callable[[], Iterator[audio.Samples]]], progress: Callable[[float], None] | None
    ) -> Iterator[tuple[int, Transcript | VivavoceError]]:
        """(index, result) as each finishes; what goes wrong with one is its own result."""


def run(
    arguments: Sequence[str],
    target: str | None,
    style: Style,
    load: Callable[[int], Hears],
    output: Output | None = None,
) -> int:
    """Transcribe; the exit code of the first input that failed. `load` is told how many recordings there are.

    Results go to `output`, or else to where `target` says.
    """
    found = [_check(item) for item in expand(arguments)]
    tracks = [item for item in found if isinstance(item, _Recording)]
    output = output or choose(target, [track.input for track in tracks], len(found), style)
    failures = {place: item for place, item in enumerate(found) if isinstance(item, VivavoceError)}
    for error in failures.values():
        complain(str(error))
    places = [place for place, item in enumerate(found) if isinstance(item, _Recording)]
    if tracks:
        transcriber = load(len(tracks))
        with bar(len(tracks), _total(tracks)) as shown:
            for index, result in _in_order(transcriber.transcribe_all([t.blocks for t in tracks], shown.advance)):
                shown.file_done()
                with shown.hidden():
                    if isinstance(result, VivavoceError):
                        failures[places[index]] = result
                        complain(tracks[index].explain(result))
                    else:
                        tracks[index].remark(result)
                        output.add(index, Result(tracks[index].input.name, transcriber.name, result))
    output.close()
    return failures[min(failures)].exit_code if failures else ExitCode.OK


class _Recording:
    """An input that opened, and how loud it turned out to be."""

    def __init__(self, found: Input) -> None:
        self.input = found
        self.seconds = audio.duration(found.source, name=found.name)
        self._peak = 0.0

    def blocks(self) -> Iterator[audio.Samples]:
        """Its samples, decoded as they are asked for."""
        with closing(audio.blocks(self.input.source, name=self.input.name)) as blocks:
            for block in blocks:
                self._peak = max(self._peak, float(np.abs(block).max(initial=0.0)))
                yield block

    def remark(self, transcript: Transcript) -> None:
        """Say what explains an empty transcript, and which words are not in it."""
        if self._peak == 0:
            note(f"{self.input.name}: silence only (peak −inf dBFS)")
        if transcript.dropped:
            words = ", ".join(f"{word.text} at {word.start:.2f} s ({word.suspect})" for word in transcript.dropped[:5])
            note(f"{self.input.name}: {len(transcript.dropped)} suspect words are left out: {words}")

    def explain(self, error: VivavoceError) -> str:
        """The error with the file's name before it."""
        message, name = str(error), self.input.name
        return message if message.startswith(f"{name}: ") else f"{name}: {message}"


def _check(found: Input | VivavoceError) -> _Recording | VivavoceError:
    """Open it once: what is missing or no audio is said before a model is loaded."""
    if isinstance(found, VivavoceError):
        return found
    try:
        return _Recording(found)
    except VivavoceError as error:
        return error


def _total(tracks: Sequence[_Recording]) -> float | None:
    """Seconds of audio, if every header tells."""
    known = [track.seconds for track in tracks if track.seconds is not None]
    return sum(known) if len(known) == len(tracks) else None


def _in_order(
    results: Iterable[tuple[int, Transcript | VivavoceError]],
) -> Iterator[tuple[int, Transcript | VivavoceError]]:
    """Hold a result back until those before it are there."""
    waiting: dict[int, Transcript | VivavoceError] = {}
    following = 0
    for index, result in results:
        waiting[index] = result
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1
