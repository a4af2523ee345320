"""Pauses to turns: the semantic VAD (spec §3.6)."""

from __future__ import annotations

from collections.abc import Sequence

from vivavoce.core import Event, TurnEnded, UnsupportedError, Vad, WordStarted


class Turns:
    """Watches one VAD head: a turn ends once it sees a pause after a word, and the next word begins another.

    The heads lead the text: a word said before the pause may be told after the turn has ended, and begins no turn.

    Raises UnsupportedError when the model has heads but not this one, or when the threshold is no probability.
    """

    def __init__(self, heads: int, head: int, threshold: float) -> None:
        if heads and not 0 <= head < heads:
            raise UnsupportedError(f"vad_head {head} does not exist: this model has heads 0 to {heads - 1}")
        if not 0 <= threshold <= 1:
            raise UnsupportedError(f"vad_threshold must be a probability from 0 to 1, got {threshold}")
        self._heads = heads
        self._head = head
        self._threshold = threshold
        self._spoken = False  # a word since the last turn's end
        self._ended = 0.0  # seconds: the last turn's end

    def follow(self, time: float, vad: Sequence[float], words: list[Event]) -> list[Event]:
        """The events of one step: its Vad, its words, and the turn's end; without heads the Vad is empty."""
        assert len(vad) == self._heads, f"the model has {self._heads} VAD heads, the step {len(vad)}"
        pauses = tuple(map(float, vad))
        if words:
            self._spoken |= any(isinstance(event, WordStarted) and event.start >= self._ended for event in words)
        events = [Vad(time, pauses), *words]
        if self._heads and self._spoken and pauses[self._head] > self._threshold:
            self._spoken, self._ended = False, time
            events.append(TurnEnded(time))
        return events
