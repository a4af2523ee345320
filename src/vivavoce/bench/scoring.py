"""What was heard against what was said: word error rate, and the two texts side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer

Kind = Literal["match", "extra", "missing", "pending"]
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_LONG = 5  # letters; one wrong letter in a word of this length is forgiven in the comparison, never in the rate


def normalise(text: str) -> str:
    """Lower case, punctuation to spaces, single spaces."""
    return " ".join(_PUNCTUATION.sub(" ", text.lower()).split())


def word_errors(reference: str, heard: str) -> tuple[int, int]:
    """(substitutions + deletions + insertions, words of the reference), both texts normalised."""
    said, got = normalise(reference).split(), normalise(heard).split()
    return _errors(said, got), len(said)


def word_error_rate(reference: str, heard: str) -> float:
    """Errors per word of the reference, 0 to more than 1; against an empty reference 0 if nothing was heard, else 1."""
    errors, words = word_errors(reference, heard)
    return errors / words if words else float(errors > 0)


def character_errors(reference: str, heard: str) -> tuple[int, int]:
    """(substitutions + deletions + insertions, characters of the reference), both texts normalised, spaces counted."""
    said, got = normalise(reference), normalise(heard)
    if not said or not got:  # which jiwer does not take
        return len(said or got), len(said)
    counted = jiwer.process_characters(said, got)
    return counted.substitutions + counted.deletions + counted.insertions, len(said)


def differences(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words differ between two lists of words, exactly as they are spelt."""
    return _errors(one, other)


@dataclass(frozen=True, slots=True)
class Piece:
    """One word of the comparison."""

    text: str
    kind: Kind


def compare(reference: str, heard: str, *, running: bool = False) -> list[Piece]:
    """The reference's words and the heard ones in one row.

    Case and punctuation at the edges do not count. While a stream is `running`, what is missing at the end is pending.
    """
    said, got = reference.split(), heard.split()
    pieces = list(_pieces(said, got))
    if running:
        last = max((place for place, piece in enumerate(pieces) if piece.kind != "missing"), default=-1)
        pieces[last + 1 :] = [Piece(piece.text, "pending") for piece in pieces[last + 1 :]]
    return pieces


def _pieces(said: list[str], got: list[str]) -> Iterator[Piece]:
    for kind, was, became in _chunks([_bare(word) for word in said], [_bare(word) for word in got]):
        if kind == "equal":
            yield from (Piece(word, "match") for word in got[became])
        elif kind == "substitute":
            for old, new in zip(said[was], got[became], strict=True):
                if _close(_bare(old), _bare(new)):
                    yield Piece(new, "match")
                else:
                    yield from (Piece(old, "missing"), Piece(new, "extra"))
        else:
            yield from (Piece(word, "missing") for word in said[was])
            yield from (Piece(word, "extra") for word in got[became])


def _bare(word: str) -> str:
    """Lower case without punctuation at the edges; a word of nothing else stays."""
    return re.sub(r"^[\W_]+|[\W_]+$", "", word.lower()) or word


def _close(one: str, other: str) -> bool:
    return len(one) == len(other) >= _LONG and sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _errors(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(
        max(was.stop - was.start, became.stop - became.start)
        for kind, was, became in _chunks(one, other)
        if kind != "equal"
    )


def _chunks(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[str, slice, slice]]:
    """The alignment of two lists of words with the fewest errors."""
    if not one or not other:  # which jiwer does not take
        yield "delete" if one else "insert", slice(0, len(one)), slice(0, len(other))
        return
    for chunk in jiwer.process_words(" ".join(one), " ".join(other)).alignments[0]:
        yield chunk.type, slice(chunk.ref_start_idx, chunk.ref_end_idx), slice(chunk.hyp_start_idx, chunk.hyp_end_idx)
