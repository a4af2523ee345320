"""Tokens to words, by the rules of spec §3.4."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from vivavoce.core import (
    FRAME_SIZE,
    SAMPLE_RATE,
    TEXT_BOUNDARY,
    TEXT_PAD,
    Event,
    Token,
    Word,
    WordEnded,
    WordStarted,
    seconds,
)
from vivavoce.session.clock import Clock
from vivavoce.session.spelling import Speller

MAX_PIECES = 256  # 20 s without a pause: a model gone astray, whose one endless word must not fill the memory


@dataclass(slots=True)
class _Spoken:
    """A word as far as it is known."""

    start: int  # samples
    text: str = ""
    pieces: int = 0
    logprob: float = 0.0  # sum over the pieces

    def add(self, text: str, logprob: float) -> None:
        self.text += text
        self.pieces += 1
        self.logprob += logprob

    @property
    def confidence(self) -> float:
        return math.exp(min(0.0, self.logprob / self.pieces))  # rounding may leave a sum just above 0

    @property
    def likely_stop(self) -> int:
        return self.start + max(SAMPLE_RATE, self.pieces * FRAME_SIZE)


class WordBuilder:
    """Follows the text of one stream: a word grows piece by piece, is complete, and at last has a stop.

    At most one word grows and at most one, the word before it, waits for its stop; never both at once.
    """

    def __init__(self, speller: Speller, clock: Clock) -> None:
        self._speller = speller
        self._clock = clock
        self._growing: _Spoken | None = None
        self._complete: _Spoken | None = None
        self._marked = False  # the token before was a marker
        self._mark: int | None = None  # samples: the last marker's time, until a word begins
        self._unread: int | None = None  # samples: the first piece whose text has not been given
        self._unread_logprob = 0.0  # sum over those pieces
        self._silent_so_far = True  # no text has been given

    @property
    def idle(self) -> bool:
        """Whether a pad would tell nothing and change nothing, as most do."""
        return self._growing is None and not self._marked

    def hear(self, token: int, logprob: float) -> Iterator[Event]:
        """What the newest token tells; the clock has already advanced to it."""
        if not self._clock.speaks:
            return
        if self._marked:  # a marker is the time of the step after it
            self._mark, self._marked = self._clock.piece, False
        if token in (TEXT_BOUNDARY, TEXT_PAD):
            yield from self._finish_growing()
        if token == TEXT_BOUNDARY:
            yield from self._stop_complete(self._clock.marker)
            self._marked = True
        elif self._speller.prints(token):
            yield from self._grow(token, logprob)

    def close(self) -> Iterator[Event]:
        """Ends every word: nothing more will be said of the audio so far."""
        yield from self._finish_growing()
        if self._complete:
            yield from self._stop_complete(min(self._clock.now, self._complete.likely_stop))
        self._marked, self._mark = False, None  # a later word must not begin in audio already answered for

    def _grow(self, token: int, logprob: float) -> Iterator[Event]:
        if self._growing and (self._speller.begins_word(token) or self._growing.pieces == MAX_PIECES):
            yield from self._finish_growing()
        time = self._clock.piece
        if not self._growing:
            time = time if self._mark is None else self._mark
            yield from self._stop_complete(time)
            self._growing, self._mark = _Spoken(time), None
        text = self._speller.spell(token)
        self._growing.add(text, logprob)
        yield from self._give(text, time, logprob)
        if self._speller.whole_words:  # nothing can be added to it
            yield from self._finish_growing()

    def _give(self, text: str, time: int, logprob: float = 0.0) -> Iterator[Event]:
        if self._unread is None:
            self._unread, self._unread_logprob = time, 0.0
        self._unread_logprob += logprob
        if self._silent_so_far:
            text = text.lstrip()
        if text:
            yield Token(text, seconds(self._unread), self._unread_logprob)
            self._unread, self._silent_so_far = None, False

    def _finish_growing(self) -> Iterator[Event]:
        word, self._growing = self._growing, None
        if not word:
            return
        if rest := self._speller.finish():
            word.text += rest
            yield from self._give(rest, word.start)
        self._unread = None
        word.text = word.text.strip()
        if word.text:  # a lone '▁' is no word
            self._complete = word
            yield WordStarted(word.text, seconds(word.start), word.confidence)

    def _stop_complete(self, stop: int) -> Iterator[Event]:
        word, self._complete = self._complete, None
        if word:
            assert word.start <= stop, "a word stops before it starts"
            yield WordEnded(Word(word.text, seconds(word.start), seconds(stop), word.confidence))
