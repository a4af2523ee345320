"""Pauses and words to turns: the semantic VAD (spec §3.6)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from vivavoce.core import (
    PAUSE_SECONDS,
    Event,
    Token,
    TurnEnded,
    TurnResumed,
    TurnStarted,
    UnsupportedError,
    Vad,
    WordStarted,
)


class Turns:
    """Watches one VAD head: a turn ends once it sees a pause after a word, and the next word begins another.

    The head says that no word begins for 0.5 to 3 s. One that does begin within that time shows that the turn had not
    ended: it is resumed. The heads lead the text: a word said before the pause may be told after the turn has ended,
    and neither begins nor resumes one. Without heads there are no turns.

    `tells`: whether each step's pauses are an event themselves. Raises UnsupportedError when the model has heads but
    not this one, or when the threshold is no probability.
    """

    def __init__(self, heads: int, head: int, threshold: float, tells: bool = True) -> None:
        if heads and not 0 <= head < heads:
            raise UnsupportedError(f"vad_head {head} does not exist: this model has heads 0 to {heads - 1}")
        if not 0 <= threshold <= 1:
            raise UnsupportedError(f"vad_threshold must be a probability from 0 to 1, got {threshold}")
        self._heads = heads
        self._head = head
        self._threshold = threshold
        self._tells = tells
        self._pause = PAUSE_SECONDS[min(max(head, 0), len(PAUSE_SECONDS) - 1)]
        self._open = False  # a turn has begun and not ended
        self._in_word = False  # a piece of it was told
        self._spoken = False  # a whole word since the last turn's end
        self._ended = -math.inf  # seconds: the last turn's end

    def follow(self, time: float, vad: Sequence[float], words: list[Event]) -> list[Event]:
        """The events of one step: its Vad, empty without heads; its words, the turn's start and end."""
        assert len(vad) == self._heads, f"the model has {self._heads} VAD heads, the step {len(vad)}"
        events: list[Event] = [Vad(time, tuple(map(float, vad)))] if self._tells else []
        if not self._heads:
            return events + words
        for event in words:
            events += self._begun(event)
            events.append(event)
        if self._spoken and vad[self._head] > self._threshold:
            self._open, self._spoken, self._ended = False, False, time
            events.append(TurnEnded(time))
        return events

    def _begun(self, event: Event) -> Iterator[Event]:
        """What begins with this event."""
        if isinstance(event, WordStarted):
            self._in_word = False
            self._spoken |= self._open and event.start >= self._ended
        elif isinstance(event, Token) and event.text.strip() and not self._in_word:
            self._in_word = True
            if not self._open and event.start >= self._ended:
                self._open = True
                yield (TurnResumed if event.start < self._ended + self._pause else TurnStarted)(event.start)
