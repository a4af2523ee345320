"""The real `vivavoce` command with a stand-in for the model: it "hears" one word in every half second of audio.

STAND_IN, a list of words, changes it: "reverse" finishes the last recording first, "slow" takes its time, "nowords"
hears nothing, "deaf" has no heads for pauses, "en_fr" knows two languages, "broken" fails to load.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from vivavoce.cli import main
from vivavoce.core import SAMPLE_RATE, CheckpointError, Transcript, VivavoceError, Word

MOODS = os.environ.get("STAND_IN", "").split()


class Transcriber:
    name = "stand-in"
    languages = ("en", "fr") if "en_fr" in MOODS else ("en",)
    hears_pauses = "deaf" not in MOODS
    engine = SimpleNamespace(native=False)

    @classmethod
    def load(cls, model: str | None = None, **options: Any) -> Transcriber:
        if "broken" in MOODS:
            raise CheckpointError(f"{model}: config.json is missing")
        print("loaded", model, sorted(options.items()), file=sys.stderr) if "loud" in MOODS else None
        return cls()

    def transcribe_all(
        self, recordings: Iterable[Callable[[], Iterator[Any]]], progress: Callable[[float], None] | None = None
    ) -> Iterator[tuple[int, Transcript | VivavoceError]]:
        jobs = list(enumerate(recordings))
        for index, recording in reversed(jobs) if "reverse" in MOODS else jobs:
            try:
                yield index, hear(recording(), progress)
            except VivavoceError as error:
                yield index, error


def hear(blocks: Iterator[Any], progress: Callable[[float], None] | None) -> Transcript:
    samples = 0
    for block in blocks:
        samples += len(np.asarray(block))
        if progress:
            progress(len(block) / SAMPLE_RATE)
        if "slow" in MOODS:
            time.sleep(0.1)
    duration = samples / SAMPLE_RATE
    count = 0 if "nowords" in MOODS else int(duration * 2)
    words = tuple(Word(f"word{n}", n / 2, n / 2 + 0.25, 0.9) for n in range(count))
    return Transcript(words, duration, tuple(float(at) + 0.9 for at in range(1, int(duration), 2)))


if __name__ == "__main__":
    module: Any = SimpleNamespace(Transcriber=Transcriber, Transcript=Transcript)
    sys.modules["vivavoce.transcriber"] = ModuleType("vivavoce.transcriber")
    sys.modules["vivavoce.transcriber"].__dict__.update(vars(module))
    sys.exit(main())
