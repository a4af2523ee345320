"""New speakers from old: natural clips with pitch and formants scaled together, timing unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from ..audio import load, normalise
from ..corpus import SAMPLE_RATE, Clip, EngineMissingError, Entry, Job, Request, read_manifest
from .mix import run

# source: how many shifts of each clip; a real speaker is rare and so worth more of them
SHIFTS = {"prompts": 5, "asterisk": 5, "kokoro": 3}
FACTORS = (0.82, 0.86, 0.9, 0.94, 1.07, 1.12, 1.17, 1.23)


def jobs(request: Request) -> Iterator[Job]:
    """Shifts of the digit clips that the corpus holds by now, validation clips left alone."""
    for name, count in SHIFTS.items():
        yield from shifts(request, name, count, "shift")


def shifts(request: Request, name: str, count: int, source: str) -> Iterator[Job]:
    """`count` shifts of every digit clip of the source `name`, under a source of their own."""
    if not shutil.which("sox"):
        raise EngineMissingError("`apt-get install sox`")
    for entry in read_manifest(request.out / name):
        if entry.words and not entry.held:
            yield from _shifts(entry, count, source, request.seed)


def _shifts(entry: Entry, count: int, source: str, seed: int) -> Iterator[Job]:
    rng = np.random.default_rng((seed, *entry.path.stem.encode()))
    for factor in rng.choice(FACTORS, count, replace=False):
        key = f"{entry.source}_{entry.path.stem}_{round(100 * factor)}"
        yield Job(key, partial(_clip, entry, source, float(factor)))


def _clip(entry: Entry, source: str, factor: float) -> Sequence[Clip]:
    """Play faster by `factor`, then stretch back: word times stay where they were."""
    audio = load(entry.path)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.wav"
        soundfile.write(path, audio, SAMPLE_RATE)
        shifted = run(["sox", str(path), "{}", "speed", f"{factor}", "rate", "24k", "tempo", "-s", f"{1 / factor}"])
    speaker = f"{entry.speaker}*{factor:.2f}"
    return [Clip(normalise(shifted), entry.words, source, speaker, entry.licence)]
