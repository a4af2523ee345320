"""Text cut anywhere, to pieces that a server may take for whole words: in its protocol a message ends a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 2_000  # characters of a message; a longer word is cut, as the server would
_SPACE = re.compile(r"\s")
_TAG = "<break"  # a tag has spaces inside, and must not be cut there


class Pieces:
    """`push` gives what is certain to end a word, `rest` what was held back."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, text: str) -> Iterator[str]:
        """Pieces of at most LONGEST characters, each with a word in it."""
        self._held += text
        while end := self._end():
            piece, self._held = self._held[:end], self._held[end:]
            if piece.strip():
                yield piece

    def rest(self) -> Iterator[str]:
        """What nothing followed."""
        piece, self._held = self._held, ""
        if piece.strip():
            yield piece

    def clear(self) -> None:
        """Forget what was held back."""
        self._held = ""

    def _end(self) -> int:
        """Where the next piece ends: behind the last space, not within a tag; 0 while none is certain."""
        within = self._held[:LONGEST]
        ends = [found.end() for found in _SPACE.finditer(within)]
        begin = within.rfind(_TAG)
        if begin >= 0 and ">" not in within[begin:]:
            ends = [end for end in ends if end <= begin]
        if ends:
            return ends[-1]
        return LONGEST if len(self._held) >= LONGEST else 0
