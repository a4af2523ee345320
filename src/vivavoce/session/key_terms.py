"""Key terms as callers give them, and as a model writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from vivavoce.core import TEXT_PAD, WORD_BEGIN, KeyTerm, UnsupportedError
from vivavoce.engine.terms import Term
from vivavoce.session.spelling import Speller

MOST = 100  # of a stream
LONGEST = 64  # characters
MOST_PIECES = 32  # of a term, a frame each
MOST_BOOST = 5.0
_SHOWN = 40  # characters of a term that is refused
_BOOSTED = re.compile(r"(?P<text>.*):(?P<boost>[-+]?\d*\.?\d+)", re.DOTALL)


def read(text: str) -> KeyTerm:
    """ "Kyutai", or "Kyutai:2.5" with a boost. Raises UnsupportedError."""
    found = _BOOSTED.fullmatch(text)
    term = KeyTerm(found["text"], float(found["boost"])) if found else KeyTerm(text)
    check([term])
    return term


def given(terms: Iterable[str | KeyTerm]) -> tuple[KeyTerm, ...]:
    """Terms of a caller, who may have written a boost behind them. Raises UnsupportedError."""
    found = tuple(read(term) if isinstance(term, str) else term for term in terms)
    check(found)
    return found


def written(term: KeyTerm) -> str:
    """What `read` reads as this term."""
    return f"{term.text}:{term.boost:g}"


def check(terms: Sequence[KeyTerm]) -> None:
    """Raises UnsupportedError for too many terms, and for one that cannot be, whatever the model."""
    if len(terms) > MOST:
        raise UnsupportedError(f"a stream has at most {MOST} key terms, got {len(terms)}")
    for term in terms:
        shown = repr(term.text[:_SHOWN] + "…" * (len(term.text) > _SHOWN))
        if not term.text.split():
            raise UnsupportedError(f"a key term must be a word or a phrase, got {shown}")
        if len(term.text) > LONGEST:
            raise UnsupportedError(f"a key term has at most {LONGEST} characters, {shown} has {len(term.text)}")
        if not (math.isfinite(term.boost) and 0 < term.boost <= MOST_BOOST):
            raise UnsupportedError(
                f"the boost of a key term must be above 0 and at most {MOST_BOOST:g}, that of {shown} is {term.boost:g}"
            )


def spell(terms: Sequence[KeyTerm], tokenizer: bytes, pieces: Sequence[str]) -> tuple[Term, ...]:
    """The terms in the pieces of a model, whose sentencepiece `tokenizer` this is.

    One that begins small may also begin a sentence; one whose capitals the model does not know is taken without them.
    Raises UnsupportedError that names the first term that the model cannot write.
    """
    if terms and not tokenizer:
        raise UnsupportedError("this model's tokenizer is not known, so that no key term can be spelled")
    return tuple(spelled for term in terms for spelled in _ways(term, tokenizer, pieces))


def _ways(term: KeyTerm, tokenizer: bytes, pieces: Sequence[str]) -> Iterator[Term]:
    text = " ".join(term.text.split())
    both = (_pieces(way, tokenizer, pieces) for way in dict.fromkeys((text, text[:1].upper() + text[1:])))
    ways = [way for way in both if way] or [way for way in (_pieces(text.lower(), tokenizer, pieces),) if way]
    if not ways:
        raise UnsupportedError(f"this model cannot write the key term {term.text!r}{_hint(pieces)}")
    if (count := max(map(len, ways))) > MOST_PIECES:
        raise UnsupportedError(
            f"a key term has at most {MOST_PIECES} pieces, {term.text!r} has {count} of this model's"
        )
    yield from (Term(way, term.boost) for way in ways)


def _pieces(text: str, tokenizer: bytes, pieces: Sequence[str]) -> tuple[int, ...] | None:
    """Word by word, as the text of training was spelled; None if some part of it has no piece."""
    prints = Speller(pieces).prints
    spelled = [_processor(tokenizer).Encode(word) for word in text.split(" ")]
    known = all(word and pieces[word[0]].startswith(WORD_BEGIN) and all(map(prints, word)) for word in spelled)
    return tuple(token for word in spelled for token in word) if known else None


def _hint(pieces: Sequence[str]) -> str:
    words = pieces[TEXT_PAD + 1 :]
    if not all(piece.startswith(WORD_BEGIN) for piece in words):
        return ""
    return f"; its words are {', '.join(piece.removeprefix(WORD_BEGIN) for piece in words[:20])}"


@lru_cache(maxsize=4)
def _processor(tokenizer: bytes) -> Any:
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_proto=tokenizer)
