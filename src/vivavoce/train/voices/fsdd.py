"""Real speakers: the Free Spoken Digit Dataset takes of the shared data folder.

They were cut close, some at the very onset of a weak s: of such a take nothing but true silence may be cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..audio import bounds, cut, load, normalise
from ..corpus import DIGITS, SAMPLE_RATE, Clip, EngineMissingError, Job, Request, sane

LICENCE = "CC-BY-SA-4.0 (Free Spoken Digit Dataset)"
HELD_TAKES = (5, 6, 7)


def jobs(request: Request) -> Iterator[Job]:
    """One clip a file named `digit_speaker_take.wav` in `shared/data/digits`."""
    shared = request.shared
    if shared is None or not (shared / "data/digits").is_dir():
        raise EngineMissingError("fsdd needs --shared, a folder that holds data/digits/*.wav")
    for path in sorted((shared / "data/digits").glob("*.wav"), key=_take):
        yield Job(path.stem, partial(_clip, path))


def _take(path: Path) -> tuple[int, str]:
    return int(path.stem.split("_")[2]), path.stem


def _clip(path: Path) -> list[Clip]:
    digit, speaker, take = path.stem.split("_")
    audio = load(path)
    start, stop = bounds(audio, 34)
    piece, origin = cut(audio, start, stop, margin=0.05)
    word = (DIGITS[int(digit)], start - origin, stop - origin)
    if not sane([word], len(piece) / SAMPLE_RATE):
        return []
    return [Clip(normalise(piece), (word,), "fsdd", speaker, LICENCE, int(take) in HELD_TAKES)]
