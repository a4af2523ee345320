"""A text-to-speech stream, from the caller's text to events."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_SECONDS, FRAME_SIZE, Flushed, Speech, SpeechEvent, VivavoceError, WordSpoken
from vivavoce.engine.tts_snapshot import TtsHistory
from vivavoce.session.profile import TtsProfile
from vivavoce.session.script import ScriptState
from vivavoce.session.text import Entry, TextReader
from vivavoce.session.vocabulary import Vocabulary

AHEAD = 64  # words of a stream that the engine's process holds; the rest wait here
LOUDEST = 0.99  # what a sample may be, as in the reference server (spec/moshi-server.md §6.3)


@dataclass(frozen=True, slots=True)
class Script:
    """What the engine's process has not been told yet of a stream's text."""

    epoch: int  # another than before: the stream begins afresh, as if it had just been opened
    entries: list[Entry]
    ended: bool  # no more will come in this epoch


@dataclass(slots=True)
class _Part:
    """Text that is spoken as one, from the beginning of an epoch to its end."""

    entries: deque[Entry] = field(default_factory=deque)  # those that no state has taken
    begun: bool = False  # there is, or was, something to say
    flushes: list[int | str] = field(default_factory=list)  # that end it, to be answered when it was spoken


class TtsSession:
    """One stream: text goes in by `push`, its script to the engine's process by `take`, steps come back by `stepped`.

    Each step comes back with the state of the stream's `ScriptMachine` after it. The newest `state` and the `history`
    are what another engine needs to go on; `rewind` then gives it, by `take`, the entries that no state has taken.
    The events depend on the text and the steps, never on how the text was cut or when it was taken.

    A flush ends a part of the text as the end ends the last one; the next part is another epoch. So what is said is
    that of a stream for each part, one behind the other on one clock.
    """

    def __init__(self, profile: TtsProfile, dep_q: int, history_steps: int) -> None:
        self._profile, self._dep_q, self._history_steps = profile, dep_q, history_steps
        self._reader, self._vocabulary = TextReader(), Vocabulary(profile.words)
        self._ended = False
        self._parts = deque([_Part()])  # the one that is spoken, and those to come; text goes into the last
        self._frames = 0  # of audio given
        self._ahead = max(AHEAD, profile.lookahead + 1)
        self.epoch = self._told_epoch = 0  # counts the clears, and the parts that were spoken
        self._begin()

    def _begin(self) -> None:
        self.history = TtsHistory(self._history_steps, self._dep_q)
        self.state: ScriptState | None = None  # None before the first step
        self._told = self._words_told = 0  # of the part's entries, those that `take` has given, and how many are words
        self._told_end = False
        self._first_frame = self._frames  # of this epoch
        self._word: tuple[str, float] | None = None  # that is being spoken, and its start

    def push(self, text: str, *, whole: bool = False, speaker: int = 0) -> None:
        """More text, cut anywhere; `whole` when it ends a word (TextReader.push).

        Raises VivavoceError for what is no text and after `end`, which changes nothing; and UnsupportedError for a word
        that the model cannot say: then none of the words that this text completes is spoken, and the stream goes on.
        """
        if self._ended:
            raise VivavoceError("the stream has ended: no text is taken after end()")
        self._add(self._reader.push(text, whole=whole, speaker=speaker))

    def check(self, text: str) -> None:
        """Raises what `push` and `end` would for this whole text; changes nothing."""
        self._vocabulary.read(TextReader().push(text, whole=True))

    def end(self) -> None:
        """No more text will come; what was pushed is spoken to its end. Ending twice is ending once.

        Raises UnsupportedError when the last word is none that the model can say; the stream has ended all the same.
        """
        ended, self._ended = self._ended, True
        if not ended:
            self._add(self._reader.end())

    def flush(self, id: int | str) -> list[SpeechEvent]:
        """Speak what was pushed to its end, as if no more came; `Flushed(id)` then follows, at once where all is said.

        Raises VivavoceError after `end`.
        """
        if self._ended:
            raise VivavoceError("the stream has ended: no flush is taken after end()")
        self._add(self._reader.end())
        if self._parts[-1].begun:
            self._parts[-1].flushes.append(id)
            self._parts.append(_Part())
        elif len(self._parts) > 1:
            self._parts[-2].flushes.append(id)
        else:
            return [Flushed(id)]
        return []

    def clear(self, unheard: int = 0) -> list[SpeechEvent]:
        """The listener has interrupted: what has not become audio is dropped, what is pushed next is spoken.

        `unheard`: how many of the newest frames given are dropped too, before they reached anyone; the stream's time
        goes back by them. The word that was being heard, if any, is told; it stops here. Flushes are answered: nothing
        follows of what was pushed before them.
        """
        assert 0 <= unheard <= self._frames, f"{self._frames} frames were given, not {unheard}"
        self._frames -= unheard
        events = [self._spoken(self.time)] if self._word and self._word[1] < self.time else []
        events += [Flushed(asked) for part in self._parts for asked in part.flushes]
        self._reader.clear()
        begun = self._part.begun
        self._parts = deque([_Part()])
        if begun:
            self.epoch += 1
            self._begin()
        return events

    @property
    def time(self) -> float:
        """Seconds of audio given so far."""
        return self._frames * FRAME_SECONDS

    @property
    def waiting(self) -> int:
        """Entries that no step has taken."""
        return sum(len(part.entries) for part in self._parts)

    @property
    def flushing(self) -> int:
        """Flushes that were not answered."""
        return sum(len(part.flushes) for part in self._parts)

    @property
    def ended(self) -> bool:
        """Whether the caller has said that no more text will come."""
        return self._ended

    @property
    def finished(self) -> bool:
        """Whether the stream has ended and every event has been given; a stream without text is at once."""
        return self._ended and len(self._parts) == 1 and (not self._part.begun or self._spoken_out)

    @property
    def pending(self) -> bool:
        """Whether there is something to take."""
        if self._told < len(self._part.entries):
            return self._words_told < self._ahead
        return self._told_epoch != self.epoch or (self._part.begun and self._told_end != self._closed)

    def take(self) -> Script:
        """What is new for the engine's process since `take` or `rewind`; only while `pending`."""
        assert self.pending, "nothing is ready to be taken"
        entries = list[Entry]()
        for entry in islice(self._part.entries, self._told, None):
            if self._words_told >= self._ahead:
                break
            entries.append(entry)
            self._words_told += bool(entry.text)
        self._told += len(entries)
        self._told_end = self._closed and self._told == len(self._part.entries)
        self._told_epoch = self.epoch
        return Script(self.epoch, entries, self._told_end)

    def rewind(self) -> None:
        """The engine was lost; another one begins at `epoch` and `state`. What no state has taken is taken again."""
        self._told, self._words_told, self._told_end = 0, 0, False
        self._told_epoch = self.epoch

    def stepped(
        self,
        epoch: int,
        token: int,
        codes: Sequence[int] | None,
        audio: NDArray[np.float32] | None,
        state: ScriptState,
    ) -> list[SpeechEvent]:
        """What one step told: the text token that it fed, its column of codes, a frame [1920], and the state after it.

        Nothing when the step is of an earlier epoch: what it says was cleared.
        """
        if epoch != self.epoch:
            return []
        self.history.add(token, codes)
        events = self._follow(state)
        if audio is not None:
            assert audio.shape == (FRAME_SIZE,), f"a frame has {FRAME_SIZE} samples, got {list(audio.shape)}"
            self._frames += 1
            events.append(Speech(np.clip(audio, -LOUDEST, LOUDEST)))
        if self._part.flushes and self._spoken_out:
            events += [Flushed(asked) for asked in self._parts.popleft().flushes]
            self.epoch += 1
            self._begin()
        return events

    @property
    def _part(self) -> _Part:
        return self._parts[0]

    @property
    def _closed(self) -> bool:
        """Whether the part that is spoken has its last entry."""
        return bool(self._part.flushes) or (self._ended and len(self._parts) == 1)

    @property
    def _spoken_out(self) -> bool:
        return self.state is not None and self.state.finished(self._profile)

    def _add(self, read: list[Entry]) -> None:
        entries = self._vocabulary.read(read)
        self._parts[-1].entries.extend(entries)
        self._parts[-1].begun |= bool(entries)

    def _follow(self, state: ScriptState) -> list[SpeechEvent]:
        """The word that is over when the state takes another entry, or runs out of them."""
        before, self.state = self.state, state
        taken = state.taken - (before.taken if before else 0)
        ran_out = state.end_step is not None and (before is None or before.end_step is None)
        assert 0 <= taken <= min(1, self._told), "a step took an entry that it was not given"
        if not taken and not ran_out:
            return []
        now = (self._first_frame + state.steps - 1) * FRAME_SECONDS
        over = [self._spoken(now)] if self._word else []
        if taken:
            entry = self._part.entries.popleft()
            self._told -= 1
            self._words_told -= bool(entry.text)
            self._word = (entry.text, now) if entry.text else None
        return over

    def _spoken(self, stop: float) -> SpeechEvent:
        assert self._word is not None
        (text, start), self._word = self._word, None
        return WordSpoken(text, start, stop)
