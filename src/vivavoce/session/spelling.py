"""From token ids to text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from vivavoce.core import RESERVED, TEXT_PAD, WORD_BEGIN

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Speller:
    """Spells the pieces of one stream, one at a time; a character in several byte pieces appears with its last."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        tokens = range(len(pieces))
        self.whole_words = not any(self.prints(token) and not self.begins_word(token) for token in tokens)  # no others

    def prints(self, token: int) -> bool:
        """Whether the token is text: neither reserved nor beyond the tokenizer (a text head may be wider)."""
        return TEXT_PAD < token < len(self._pieces) and self._pieces[token] not in RESERVED

    def begins_word(self, token: int) -> bool:
        """Whether the piece says of itself that a word begins with it."""
        return self._pieces[token].startswith(WORD_BEGIN)

    def spell(self, token: int) -> str:
        """The text that becomes readable with this piece, a space for each '▁'; empty within a character."""
        piece = self._pieces[token]
        byte = _BYTE.fullmatch(piece)
        return self._utf8.decode(bytes.fromhex(byte[1]) if byte else piece.replace(WORD_BEGIN, " ").encode())

    def finish(self) -> str:
        """What a character left incomplete reads as: U+FFFD or nothing."""
        return self._utf8.decode(b"", final=True)
