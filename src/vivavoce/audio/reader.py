"""The two ways to read a recording, whole or in blocks; one is the concatenation of the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from vivavoce.core import SAMPLE_RATE

from .decode import signal
from .source import Samples, Source, name_of, open_source
from .track import Track


class Blocks(Iterator[Samples]):
    """Blocks of float32 mono 24 kHz audio; `duration` in seconds where the container tells, None where it does not."""

    def __init__(self, track: Track, length: int, channel: int | None = None) -> None:
        self.duration = track.duration
        self._track = track
        self._blocks = _recut(signal(track, channel), length)

    def __next__(self) -> Samples:
        try:
            return next(self._blocks)
        except BaseException:  # the end, an error or an interrupt: nothing more will be read
            self.close()
            raise

    def close(self) -> None:
        """Release the file; only needed by those who stop before the end."""
        self._track.close()


def blocks(source: Source, seconds: float = 1.0, *, name: str | None = None, channel: int | None = None) -> Blocks:
    """Open a recording and decode it lazily, `seconds` at a time (the last block may be shorter).

    `source` is a path, the bytes of a whole file, or an open file, which is closed in the end; errors call it `name`.
    Raises AudioNotFoundError or InvalidAudioError, here for what the header shows and while iterating for what only
    decoding shows (truncation, NaN samples). `channel`, from 0, is given alone; else the mean of all.
    """
    return Blocks(_open(source, name), max(1, round(seconds * SAMPLE_RATE)), channel)


def load(source: Source, *, name: str | None = None) -> Samples:
    """A whole recording as float32 [samples], 24 kHz, mono (mean of the channels). Errors as `blocks`."""
    return np.concatenate(list(blocks(source, 10.0, name=name)))


def duration(source: Source, *, name: str | None = None) -> float | None:
    """Seconds of audio according to the header, without decoding; None where it does not say. Errors as `blocks`."""
    track = _open(source, name)
    try:
        return track.duration
    finally:
        track.close()


def channels(source: Source, *, name: str | None = None) -> int:
    """How many channels the audio has. Errors as `blocks`."""
    track = _open(source, name)
    try:
        return track.channels
    finally:
        track.close()


def _open(source: Source, name: str | None) -> Track:
    name = name or name_of(source)
    file = open_source(source, name)
    try:
        return Track(file, name)
    except BaseException:
        file.close()
        raise


def _recut(pieces: Iterable[Samples], length: int) -> Iterator[Samples]:
    """The same samples in blocks of `length`; the last one holds the rest."""
    waiting: list[Samples] = []
    held = 0
    for piece in pieces:
        waiting.append(piece)
        held += len(piece)
        if held >= length:
            joined = np.concatenate(waiting)
            whole = held - held % length
            yield from np.split(joined[:whole], range(length, whole, length))
            waiting, held = [joined[whole:]], held - whole
    if held:
        yield np.concatenate(waiting)
