"""The recording of `make demo`: a held-out voice says two telephone numbers and a code."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile

from ..align import align
from ..audio import normalise, trim
from ..corpus import SAMPLE_RATE, Audio, Word
from .kokoro import HELD, named, say

VOICE = HELD[0]  # af_heart, never trained on
# Numbers that Ofcom and the North American plan keep for fiction.
SAID = (
    "zero two zero, seven nine four six, zero nine five eight.",
    "five five five, zero one four two.",
    "three three eight one.",
)
PAUSE = 0.8  # seconds between the numbers
SPEED = 0.9
README = """# Examples

`digits.flac` is what `make demo` listens to: {seconds:.1f} s, 24 kHz, mono.

It is synthetic speech, made by `python -m vivavoce.train.voices.example examples` with
Kokoro-82M (voice `{voice}`, speed {speed}; Apache-2.0). The corpus holds that voice out of training.
The recording is under Apache-2.0 too. The numbers are among those kept for fiction.

Said: {said}

Word times in seconds, by forced alignment:

| word | start | stop |
|---|---|---|
{rows}
"""


def make_example(folder: Path) -> tuple[Word, ...]:
    """Write `digits.flac` and `README.md`; returns the words with their times in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    audio, words = _join([_number(text) for text in SAID])
    soundfile.write(folder / "digits.flac", audio, SAMPLE_RATE, "PCM_16")
    rows = "\n".join(f"| {text} | {start:.2f} | {stop:.2f} |" for text, start, stop in words)
    seconds, said = len(audio) / SAMPLE_RATE, " ".join(SAID)
    page = README.format(seconds=seconds, voice=VOICE, speed=SPEED, said=said, rows=rows)
    (folder / "README.md").write_text(page, encoding="utf-8")
    return words


def _number(text: str) -> tuple[Audio, tuple[Word, ...]]:
    audio = normalise(say(text, named(VOICE), SPEED))
    words = align(audio, text.replace(",", "").rstrip(".").split())
    assert words, f"No alignment for {text!r}"
    return trim(audio, words)


def _join(parts: list[tuple[Audio, tuple[Word, ...]]]) -> tuple[Audio, tuple[Word, ...]]:
    silence = np.zeros(round(PAUSE * SAMPLE_RATE), np.float32)
    pieces, words, at = [silence], list[Word](), len(silence)
    for audio, times in parts:
        words += [(text, start + at / SAMPLE_RATE, stop + at / SAMPLE_RATE) for text, start, stop in times]
        pieces += [audio, silence]
        at += len(audio) + len(silence)
    return np.concatenate(pieces), tuple(words)


if __name__ == "__main__":
    make_example(Path(sys.argv[1]))
