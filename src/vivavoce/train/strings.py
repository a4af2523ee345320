"""Digit strings: which digits to say, how to write them for a synthesiser, how to cut them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .audio import cut
from .corpus import DIGITS, Audio, Word


def digit_string(rng: np.random.Generator, length: int) -> list[str]:
    """`length` digit words: all ten shuffled when it is 10, else any, repeats allowed."""
    if length == len(DIGITS):
        return [str(digit) for digit in rng.permutation(DIGITS)]
    return [str(digit) for digit in rng.choice(DIGITS, length)]


def spoken(digits: Sequence[str], rng: np.random.Generator, listed: bool = False) -> str:
    """Write digits as a person says them: groups of 2 to 4, a list, or one breath."""
    if listed:
        return ", ".join(digits) + "."
    if len(digits) < 5 or rng.random() < 0.15:
        return " ".join(digits) + "."
    mark = str(rng.choice([", ", ", ", "; ", ". "]))
    return mark.join(" ".join(group) for group in _groups(digits, rng)) + "."


def _groups(digits: Sequence[str], rng: np.random.Generator) -> Iterator[Sequence[str]]:
    first = 0
    while first < len(digits):
        size = int(rng.integers(2, 5))
        yield digits[first : first + size]
        first += size


def isolated(audio: Audio, words: Sequence[Word]) -> list[tuple[Audio, tuple[Word, ...]]]:
    """Cut every word of a comma list out of samples [n], its time relative to the cut.

    A word that touches its neighbour is left out: a cut through running speech is no isolated word.
    """
    pieces: list[tuple[Audio, tuple[Word, ...]]] = []
    for index, (text, start, stop) in enumerate(words):
        apart = index == 0 or start - words[index - 1][2] > 0.04
        apart &= index + 1 == len(words) or words[index + 1][1] - stop > 0.04
        if apart:
            piece, origin = cut(audio, start, stop)
            pieces.append((piece, ((text, start - origin, stop - origin),)))
    return pieces
