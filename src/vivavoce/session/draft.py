"""What a stream of speech to text gave, in one."""

from __future__ import annotations

from dataclasses import dataclass, field

from vivavoce.core import Transcript, TurnEnded, TurnResumed, TurnStarted, Word, WordDropped, WordEnded


@dataclass
class Draft:
    """A transcript while its recording is being heard; grows by `add`."""

    words: list[Word] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    dropped: list[Word] = field(default_factory=list)

    def add(self, event: object) -> None:
        """One event; those that are no part of a transcript are passed over."""
        match event:
            case WordEnded(word):
                self.words.append(word)
            case WordDropped(word):
                self.dropped.append(word)
            case TurnEnded(time):
                self.turns.append(time)
            case TurnStarted(time):
                self.started.append(time)
            case TurnResumed(time):
                self.resumed.append(time)

    def transcript(self, duration: float) -> Transcript:
        """Of so many seconds of audio."""
        return Transcript(
            tuple(self.words),
            duration,
            turns=tuple(self.turns),
            started=tuple(self.started),
            resumed=tuple(self.resumed),
            dropped=tuple(self.dropped),
        )
