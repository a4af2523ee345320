"""Whether a word's confidence is what it says: of words with 0.8, are four in five right?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

import jiwer

from vivavoce.core import Word

from .scoring import normalise

BINS = 10
Judged = tuple[float, bool]  # a word's confidence, and whether it was said


@dataclass(frozen=True)
class Bin:
    """The words whose confidence is at least `low` and below `low` + 1 / BINS (the last: at most)."""

    low: float
    words: int
    confidence: float  # mean
    right: float  # share of the words that were said


def judge(reference: str, heard: Sequence[Word]) -> list[Judged]:
    """Each heard word, right where the alignment with the fewest errors has it the same; a word is one token."""
    said, got = normalise(reference).split(), [normalise(word.text) for word in heard]
    if any(len(word.split()) != 1 for word in got):  # "twenty-one", or a dash alone: no word to align
        return []
    if not said or not got:
        return [(word.confidence, False) for word in heard]
    right = set[int]()
    for chunk in jiwer.process_words(" ".join(said), " ".join(got)).alignments[0]:
        if chunk.type == "equal":
            right.update(range(chunk.hyp_start_idx, chunk.hyp_end_idx))
    return [(word.confidence, place in right) for place, word in enumerate(heard)]


def bins(words: Iterable[Judged]) -> list[Bin]:
    """Those that have words, the least confident first."""
    sorted_in: dict[int, list[Judged]] = {}
    for word in words:
        sorted_in.setdefault(min(int(word[0] * BINS), BINS - 1), []).append(word)
    return [
        Bin(place / BINS, len(inside), mean(c for c, _ in inside), mean(right for _, right in inside))
        for place, inside in sorted(sorted_in.items())
    ]


def expected_error(words: Sequence[Judged]) -> float | None:
    """Expected calibration error (Naeini et al. 2015): how far confidence is from the share of right words, 0 to 1.

    The mean over all words of their bin's distance; None without words.
    """
    if not words:
        return None
    return sum(one.words * abs(one.confidence - one.right) for one in bins(words)) / len(words)
