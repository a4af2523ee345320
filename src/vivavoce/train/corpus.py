"""The training corpus on disk: 24 kHz FLAC clips and one append-only manifest a source."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from vivavoce.core import SAMPLE_RATE as SAMPLE_RATE

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MIN_DIGIT, MAX_DIGIT = 0.12, 1.0  # seconds; a digit outside this range was aligned wrongly
MANIFEST = "manifest.jsonl"

Audio = npt.NDArray[np.float32]
Word = tuple[str, float, float]  # text, start, stop in seconds from the clip's start

# "oh" is said for zero, and "twenty five" holds a digit: none of them may hide in other speech.
_DIGIT_WORD = re.compile(
    r"\b(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)(?:s|'s|th|ty|teen)?\b|forty|\d", re.IGNORECASE
)


@dataclass(frozen=True)
class Clip:
    """One recording: float32 samples [n] at 24 kHz within ±1, and the digits spoken in it."""

    audio: Audio
    words: tuple[Word, ...]  # empty for other speech
    source: str
    speaker: str
    licence: str
    held: bool = False  # kept for validation, never trained on


@dataclass(frozen=True)
class Job:
    """A unit of work that can be skipped when its key is in the manifest already."""

    key: str  # file name without extension, unique within its source
    make: Callable[[], Sequence[Clip]]  # none when a sanity check dropped the take


@dataclass(frozen=True)
class Entry:
    """One manifest line."""

    path: Path
    words: tuple[Word, ...]
    source: str
    speaker: str
    licence: str
    held: bool


@dataclass(frozen=True)
class Request:
    """What a source of jobs may look at."""

    out: Path  # the corpus so far
    shared: Path | None  # recordings that no package carries
    seed: int


class EngineMissingError(Exception):
    """A voice engine is not installed; the message names the package to install."""


def has_digit_word(text: str) -> bool:
    """Whether a text, in words or figures, speaks a digit."""
    return _DIGIT_WORD.search(text) is not None


def sane(words: Sequence[Word], seconds: float) -> bool:
    """Whether the digits are in order, inside the clip and of plausible length."""
    edge = 0.0
    for _, start, stop in words:
        if start < edge - 0.005 or not MIN_DIGIT <= stop - start <= MAX_DIGIT:
            return False
        edge = stop
    return edge <= seconds + 0.005


def write_clip(root: Path, key: str, clip: Clip) -> Path:
    """Write `root/source/key.flac`, then its manifest line, so that readers never see half a file."""
    folder = root / clip.source
    path = folder / f"{key}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    soundfile.write(part, np.clip(clip.audio, -1, 1), SAMPLE_RATE, "PCM_16", format="FLAC")
    part.replace(path)
    line = {
        "path": f"{key}.flac",
        "source": clip.source,
        "speaker": clip.speaker,
        "licence": clip.licence,
        "words": [[text, round(start, 4), round(stop, 4)] for text, start, stop in clip.words],
        "held": clip.held,
    }
    with (folder / MANIFEST).open("a") as manifest:
        manifest.write(json.dumps(line) + "\n")
    return path


def read_manifest(folder: Path) -> Iterator[Entry]:
    """Yield the complete lines of a source's manifest, which may be growing."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        return
    for line in manifest.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield _entry(folder, json.loads(line))


def _entry(folder: Path, line: dict[str, object]) -> Entry:
    words = line["words"]
    assert isinstance(words, list)
    return Entry(
        folder / str(line["path"]),
        tuple((str(text), float(start), float(stop)) for text, start, stop in words),
        str(line["source"]),
        str(line["speaker"]),
        str(line["licence"]),
        bool(line["held"]),
    )
