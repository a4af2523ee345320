"""Suspects words that nobody can have said: over silence, over sound without syllables, or over and over.

A model can write words where there are none to hear, and can fall into a loop. What the guard goes by is what the model
does not know of itself: the levels of the audio and the pace of the words. It never changes a word by itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, takewhile

from vivavoce.core import (
    FRAME_RATE,
    SAMPLE_RATE,
    Event,
    Suspicion,
    Token,
    UnsupportedError,
    Word,
    WordDropped,
    WordEnded,
    WordStarted,
)
from vivavoce.session.heal import BLOCK, LOUDEST

GUARDS = ("flag", "drop")
SILENT = -70.0  # dBFS of 20 ms: what stays below, nobody hears
STEADY = 1.5  # dB between the loudest and the softest frame: less than any syllable, whatever the noise beside it
ENOUGH = 8  # frames, at least, in which a word is looked for
BEFORE = 0.4  # seconds before a word's start that may still be of it: several times the error of starts
LONGER = 2.0  # seconds, beyond the model's delay, that are remembered
FASTEST = 6.0  # words a second: nobody says the same so fast for long
SOME, MANY = (8, 3), (16, 8)  # words, and repeats: a loop when faster than that, and a loop at any pace
LONGEST = 4  # words that are repeated


class Guard:
    """Of one stream. `mode` flag: suspects are told with the reason; drop: they are kept back and counted.

    With drop a piece waits until its word is known. Raises UnsupportedError for another mode.
    """

    def __init__(self, mode: str, delay_seconds: float) -> None:
        if mode not in GUARDS:
            raise UnsupportedError(f"guard must be {' or '.join(GUARDS)}, got {mode!r}")
        self._drops = mode == "drop"
        self._heard = deque[tuple[int, float, float]](  # of frames: where they end, and power of the loudest and of all
            maxlen=math.ceil((delay_seconds + BEFORE + LONGER) * FRAME_RATE)
        )
        self._said = deque[tuple[str, float]](maxlen=max(SOME[1], MANY[1]) * LONGEST)  # words and their starts
        self._suspicion: Suspicion | None = None  # of the word that has started and not ended
        self._held: list[Token] = []  # pieces of a word that is not known
        self._silent_so_far = True  # no text has been given
        self.dropped = 0  # words

    def hear(self, energy: Sequence[float], now: int) -> None:
        """A frame's blocks of 20 ms (`heal.energies`) that the caller pushed, up to sample `now` of the stream."""
        if energy:
            mean = min(sum(energy) / BLOCK / len(energy), LOUDEST)  # beyond it may lie infinity
            self._heard.append((now, max(energy) / BLOCK, mean))

    def judge(self, words: Sequence[Event]) -> list[Event]:
        """What a step told of words, with suspicions, or without the suspects."""
        return [told for event in words for told in self._judged(event)]

    def _judged(self, event: Event) -> Iterator[Event]:
        match event:
            case Token() if self._drops:
                self._held.append(event)
            case WordStarted(text, start):
                self._suspicion = self._suspect(text, start)
                if not self._drops:
                    yield replace(event, suspect=self._suspicion)
                elif self._suspicion:
                    self._held.clear()
                else:
                    yield from self._release()
                    yield event
            case WordEnded(word):
                yield from self._ended(replace(word, suspect=self._suspicion))
            case _:
                yield event

    def _ended(self, word: Word) -> Iterator[Event]:
        if self._drops and word.suspect:
            self.dropped += 1
            yield WordDropped(word)
        else:
            yield WordEnded(word)

    def _release(self) -> Iterator[Token]:
        for piece in self._held:
            text = piece.text.lstrip() if self._silent_so_far else piece.text
            if text:
                self._silent_so_far = False
                yield replace(piece, text=text)
        self._held.clear()

    def _suspect(self, text: str, start: float) -> Suspicion | None:
        """Why nobody can have said this word, the newest one."""
        self._said.append((text.casefold(), start))
        since = (start - BEFORE) * SAMPLE_RATE
        levels = list(takewhile(lambda frame: frame[0] > since, reversed(self._heard)))
        if len(levels) < ENOUGH:  # at the end of a stream there are few
            levels = list(islice(reversed(self._heard), ENOUGH))
        if all(loudest < 10 ** (SILENT / 10) for _, loudest, _ in levels):
            return "silence"
        if len(levels) >= ENOUGH and _range([mean for *_, mean in levels]) < STEADY:
            return "steady"
        return "repeated" if any(self._repeats(length) for length in range(1, LONGEST + 1)) else None

    def _repeats(self, length: int) -> bool:
        """Whether the newest so many words have been said often enough in a row, and fast enough, to be a loop."""
        run = self._run(length)
        if run >= max(MANY[0], MANY[1] * length):
            return True
        wanted = max(SOME[0], SOME[1] * length)
        if run < wanted:
            return False
        lasted = self._said[-1][1] - self._said[-wanted][1]
        return wanted - 1 > FASTEST * lasted

    def _run(self, length: int) -> int:
        """How many of the newest words each are as the one `length` before it, with the first `length` of them."""
        newest = reversed(self._said)
        before = islice(reversed(self._said), length, None)
        count = length
        for (word, _), (earlier, _) in zip(newest, before):
            if word != earlier:
                return count
            count += 1
        return count


def _range(powers: Sequence[float]) -> float:
    """dB between the greatest and the least."""
    return 10 * math.log10(max(powers) / min(powers)) if min(powers) else math.inf
