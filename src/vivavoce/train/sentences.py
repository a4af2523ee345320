"""Sentences without a digit word, for the speech that the recogniser must stay silent at."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from .corpus import has_digit_word


@cache
def english() -> tuple[str, ...]:
    """Ordinary sentences, word lists, commands and sentences of words that sound like digits."""
    return tuple(line for line in _section("english") if not has_digit_word(line))


@cache
def vocabulary() -> tuple[str, ...]:
    """Common words, most of one syllable, to be said in random order."""
    return tuple(word for line in _section("words") for word in line.split())


def other_text(rng: np.random.Generator) -> str:
    """A sentence or, one time in four, a list of unrelated words."""
    if rng.random() < 0.75:
        return str(rng.choice(english()))
    words = rng.choice(vocabulary(), int(rng.integers(3, 9)), replace=False)
    return str(rng.choice([", ", " "])).join(words) + "."


@cache
def french() -> tuple[str, ...]:
    """French sentences without a number."""
    return tuple(_section("french"))


def _section(name: str) -> list[str]:
    text = files(__package__).joinpath("sentences.txt").read_text(encoding="utf-8")
    section = text.split(f"# {name}\n")[1].split("\n# ")[0]
    return [line.strip() for line in section.splitlines() if line.strip()]
