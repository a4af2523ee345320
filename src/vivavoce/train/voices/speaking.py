"""What the embedded voice learns from: two of Kokoro's voices say digit strings, with punctuation kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from ..align import align
from ..audio import normalise, trim
from ..corpus import DIGITS, Clip, Job, Request, Word
from .kokoro import LICENCE, named, say

SPEAKERS = ("af_heart", "am_michael")
TAKES = 700  # a speaker
HELD = 12  # every twelfth is kept for validation
SPEED = (0.9, 1.0)
MANNERS = {"groups": 0.55, "list": 0.1, "breath": 0.35}  # a comma or a full stop ends a group, nothing within it


def jobs(request: Request) -> Iterator[Job]:
    """Strings of one to nine digits, speakers in turn, so that an interrupted corpus is balanced."""
    for take in range(TAKES):
        for speaker in SPEAKERS:
            yield Job(f"{speaker}_{take:04d}", partial(_clips, speaker, take, request.seed))


def script(rng: np.random.Generator) -> list[str]:
    """One to ten digit words, a full stop at their end: in groups, as a list, or all in one breath."""
    words = [str(word) for word in rng.choice(DIGITS, int(rng.integers(1, 11)))]
    manner = str(rng.choice(tuple(MANNERS), p=tuple(MANNERS.values())))
    end = len(words) if manner == "breath" else 0
    while end < len(words) - 1:
        group = 1 if manner == "list" else int(rng.choice((1, 2, 3, 4), p=(0.15, 0.25, 0.4, 0.2)))
        end = min(end + group, len(words))
        words[end - 1] += "," if rng.random() < 0.85 else "."
    words[-1] = words[-1].rstrip(",.") + "."
    return words


def _clips(speaker: str, take: int, seed: int) -> list[Clip]:
    rng = np.random.default_rng((seed, take, *speaker.encode()))
    words = script(rng)
    audio = normalise(say(" ".join(words), named(speaker), float(rng.uniform(*SPEED))))
    found = align(audio, [word.rstrip(",.") for word in words])
    if not found:
        return []
    piece, times = trim(audio, found)
    return [Clip(piece, _read(words, times), "speaking", f"kokoro-{speaker}", LICENCE, take % HELD == 0)]


def _read(words: Sequence[str], times: Sequence[Word]) -> tuple[Word, ...]:
    return tuple((text, start, stop) for text, (_, start, stop) in zip(words, times, strict=True))
