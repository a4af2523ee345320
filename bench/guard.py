"""What the guard suspects, of what was said and what was not: `python bench/guard.py --shared ../shared`.

Said: strings of takes that the embedded model never learned from, as they are, soft and in noise, and one take over and
over. Not said: what the model writes over silence, noise, hum and chords when it is made to guess, by a temperature at
which it draws words at random. Beside it stand two rules of Whisper's for a segment, which here is a recording: a text
that zlib makes 2.4 times smaller, and a mean log-probability below -1. Appends a line to bench/results/guard.jsonl.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from statistics import mean

import numpy as np
from held import held, options, record

from vivavoce.checkpoints import SttModel, load_stt
from vivavoce.core import SAMPLE_RATE, Word
from vivavoce.train import evaluate
from vivavoce.train.augment import Audio, colour, decibels
from vivavoce.transcriber import Transcriber

GUESSING = 3.0  # temperature
OVER_AND_OVER = 12  # times one take
SECONDS = 20.0  # of each sound without words
COMPRESSED, UNLIKELY = 2.4, -1.0  # Whisper's thresholds


def main() -> None:
    given = options(__doc__, "guard.jsonl")
    takes, model = held(given.shared), load_stt(device="cpu")
    strings = [string for seed in (1, 2) for string in evaluate.strung(takes, seed)]
    plain = [string.audio for string in strings]
    said = {
        "quiet": plain,
        "20 dB softer": [_scaled(audio, -20) for audio in plain],
        **{f"{level} dB of noise": [s.audio for s in evaluate.noisy(strings, level, 2)] for level in (10, 5, 0, -5)},
        "one take over and over": [
            string.audio
            for take in takes
            for string in evaluate.strung([take] * OVER_AND_OVER, 1, OVER_AND_OVER, (0.02, 0.3))
        ],
    }
    line = {
        "model": model.config.name,
        "said": {name: judged(model, sounds, 0.0) for name, sounds in said.items()},
        "not said": {name: judged(model, sounds, GUESSING) for name, sounds in wordless().items()},
    }
    record(line, given.out)


def judged(model: SttModel, sounds: Sequence[Audio], temperature: float) -> dict[str, object]:
    """Words, those that the guard suspects and why; recordings, and those that each of Whisper's rules does."""
    heard = evaluate.transcribe(Transcriber(model, batch_size=16, temperature=temperature), list(sounds))
    spoken = [words for words in heard if words]
    reasons = Counter(word.suspect for words in spoken for word in words if word.suspect)
    return {
        "words": sum(map(len, spoken)),
        "suspect": sum(reasons.values()),
        "reasons": dict(reasons),
        "recordings": len(spoken),
        "compressed": sum(_ratio(words) > COMPRESSED for words in spoken),
        "unlikely": sum(mean([math.log(max(w.confidence, 1e-9)) for w in words]) < UNLIKELY for words in spoken),
    }


def wordless() -> dict[str, list[Audio]]:
    rng, samples = np.random.default_rng(1), round(SECONDS * SAMPLE_RATE)
    at = np.arange(samples) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 50 * n * at) / n for n in (1, 2, 3, 5))
    chord = np.repeat(rng.choice([220.0, 247.0, 262.0, 294.0, 330.0], 2 * round(SECONDS)), SAMPLE_RATE // 2)
    struck = np.exp(-3 * (at % 0.5))
    chords = sum(np.sin(2 * np.pi * np.cumsum(chord * ratio) / SAMPLE_RATE) for ratio in (1, 1.25, 1.5)) * struck
    return {
        "digital silence": [np.zeros(samples, np.float32)] * 8,
        "white noise": [(decibels(level) * rng.standard_normal(samples)).astype(np.float32) for level in _LEVELS],
        "coloured noise": [(decibels(level) * colour(rng, samples)).astype(np.float32) for level in _LEVELS],
        "hum": [_scaled(hum.astype(np.float32), level) for level in _LEVELS],
        "chords": [_scaled(chords.astype(np.float32), level) for level in _LEVELS],
    }


_LEVELS = (-60, -50, -40, -30, -25, -20, -15, -12)  # dB


def _scaled(audio: Audio, level: float) -> Audio:
    return (audio * decibels(level)).astype(np.float32)


def _ratio(words: Sequence[Word]) -> float:
    data = " ".join(word.text for word in words).encode()
    return len(data) / len(zlib.compress(data))


if __name__ == "__main__":
    main()
