"""A recording to be spoken to a server: its samples, where its sound begins and ends, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vivavoce import audio
from vivavoce.audio import Samples
from vivavoce.core import SAMPLE_RATE, AudioNotFoundError, InvalidAudioError, VivavoceError, seconds

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits.flac"
QUIET = -40.0  # dB against the loudest block; what is below at both ends is not speech
_BLOCK = SAMPLE_RATE // 50


@dataclass(frozen=True, eq=False)
class Clip:
    """Mono float32 at 24 kHz, cut behind its last sound, so that its last sample is the end of speech."""

    name: str
    samples: Samples  # [n]
    reference: str | None  # what it says
    onset: float  # seconds at which the sound begins

    @property
    def duration(self) -> float:
        """Seconds."""
        return seconds(len(self.samples))


def load(path: Path | None = None, expected: str | None = None) -> Clip:
    """Decode a recording; without a path, the example of the repository.

    The reference is `expected`, else the text file beside it: `talk.wav.txt` or `talk.txt`. Raises AudioNotFoundError,
    InvalidAudioError (also for silence), and VivavoceError for a text file that cannot be read.
    """
    if path is None:
        if not EXAMPLE.is_file():
            raise AudioNotFoundError("no example recording comes with this installation: name one with --wav")
        path = EXAMPLE
    samples = audio.load(path)
    first, last = _sound(path.name, samples)
    reference = _sidecar(path) if expected is None else expected
    return Clip(path.name, samples[:last], reference, seconds(first))


def read_text(path: Path) -> str:
    """A reference text. Raises VivavoceError."""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise VivavoceError(f"{path.name}: the reference text cannot be read ({error})") from None


def _sidecar(path: Path) -> str | None:
    for beside in (path.with_name(f"{path.name}.txt"), path.with_suffix(".txt")):
        if beside.is_file():
            return read_text(beside)
    return None


def _sound(name: str, samples: Samples) -> tuple[int, int]:
    """The first sample of the first block and the one behind the last block that are not quiet."""
    blocks = np.pad(samples, (0, -len(samples) % _BLOCK)).reshape(-1, _BLOCK)
    power = np.square(blocks.astype(np.float64)).mean(1)
    if not power.any():
        raise InvalidAudioError(f"{name}: silence only; there is no speech to measure with")
    loud = np.flatnonzero(power >= power.max() * 10 ** (QUIET / 10))
    return int(loud[0]) * _BLOCK, min(len(samples), int(loud[-1] + 1) * _BLOCK)
