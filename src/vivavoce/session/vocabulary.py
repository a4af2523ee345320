"""The words of a model that can say no others, as the embedded one: what it is given is read as these, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vivavoce.core import UnsupportedError
from vivavoce.session.text import Entry

_SHOWN = 40  # characters of a word that is refused
# A figure, or letters; the first mark behind them; more marks, which say nothing.
_WORD = re.compile(r"(?P<word>\d|[^\W\d_]+(?:'[^\W\d_]+)*)(?P<mark>[,.;!?]?)[\W_]*")


class Vocabulary:
    """Reads entries for a model that says `words` only, in small letters; without any it says everything."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = dict.fromkeys(words)

    def read(self, entries: Iterable[Entry]) -> list[Entry]:
        """The entries as the model can say them: "415" figure by figure, "four-one" as two words, "-" not at all.

        Raises UnsupportedError, which names the first word that the model does not know and those that it does.
        """
        if not self._words:
            return list(entries)
        return [part for entry in entries for part in (self._parts(entry) if entry.text else (entry,))]

    def _parts(self, entry: Entry) -> Iterator[Entry]:
        for found in _WORD.finditer(entry.text):
            if found["word"].lower() not in self._words:
                raise UnsupportedError(self._refusal(entry.text))
            yield replace(entry, text=found["word"] + found["mark"])

    def _refusal(self, word: str) -> str:
        shown = word[:_SHOWN] + "…" * (len(word) > _SHOWN)
        return f"this voice cannot say {shown!r}; its words are {', '.join(self._words)}"
