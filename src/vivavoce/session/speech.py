"""A text-to-speech stream, from the caller's text to events."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_SECONDS, FRAME_SIZE, Speech, SpeechEvent, VivavoceError, WordSpoken
from vivavoce.engine.tts_snapshot import TtsHistory
from vivavoce.session.profile import TtsProfile
from vivavoce.session.script import ScriptState
from vivavoce.session.text import Entry, TextReader

AHEAD = 64  # words of a stream that the engine's process holds; the rest wait here
LOUDEST = 0.99  # what a sample may be, as in the reference server (spec/moshi-server.md §6.3)


@dataclass(frozen=True, slots=True)
class Script:
    """What the engine's process has not been told yet of a stream's text."""

    epoch: int  # another than before: the stream begins afresh, as if it had just been opened
    entries: list[Entry]
    ended: bool  # no more will come


class TtsSession:
    """One stream: text goes in by `push`, its script to the engine's process by `take`, steps come back by `stepped`.

    Each step comes back with the state of the stream's `ScriptMachine` after it. The newest `state` and the `history`
    are what another engine needs to go on; `rewind` then gives it, by `take`, the entries that no state has taken.
    The events depend on the text and the steps, never on how the text was cut or when it was taken.
    """

    def __init__(self, profile: TtsProfile, dep_q: int, history_steps: int) -> None:
        self._profile, self._dep_q, self._history_steps = profile, dep_q, history_steps
        self._reader = TextReader()
        self._ended = False
        self._frames = 0  # of audio given
        self._ahead = max(AHEAD, profile.lookahead + 1)
        self.epoch = self._told_epoch = 0  # counts the clears
        self._begin()

    def _begin(self) -> None:
        self.history = TtsHistory(self._history_steps, self._dep_q)
        self.state: ScriptState | None = None  # None before the first step
        self._entries = deque[Entry]()  # those that no state has taken
        self._told = self._words_told = 0  # of them, those that `take` has given, and how many are words
        self._told_end = False
        self._begun = False  # there is something to say
        self._first_frame = self._frames  # of this epoch
        self._word: tuple[str, float] | None = None  # that is being spoken, and its start

    def push(self, text: str, *, whole: bool = False, speaker: int = 0) -> None:
        """More text, cut anywhere; `whole` when it ends a word (TextReader.push).

        Raises VivavoceError for what is no text and after `end`; neither changes the stream.
        """
        if self._ended:
            raise VivavoceError("the stream has ended: no text is taken after end()")
        self._add(self._reader.push(text, whole=whole, speaker=speaker))

    def end(self) -> None:
        """No more text will come; what was pushed is spoken to its end. Ending twice is ending once."""
        if not self._ended:
            self._add(self._reader.end())
        self._ended = True

    def clear(self, unheard: int = 0) -> list[SpeechEvent]:
        """The listener has interrupted: what has not become audio is dropped, what is pushed next is spoken.

        `unheard`: how many of the newest frames given are dropped too, before they reached anyone; the stream's time
        goes back by them. The word that was being heard, if any, is told; it stops here.
        """
        assert 0 <= unheard <= self._frames, f"{self._frames} frames were given, not {unheard}"
        self._frames -= unheard
        cut = [self._spoken(self.time)] if self._word and self._word[1] < self.time else []
        self._reader.clear()
        if self._begun:
            self.epoch += 1
            self._begin()
        return cut

    @property
    def time(self) -> float:
        """Seconds of audio given so far."""
        return self._frames * FRAME_SECONDS

    @property
    def waiting(self) -> int:
        """Entries that no step has taken."""
        return len(self._entries)

    @property
    def ended(self) -> bool:
        """Whether the caller has said that no more text will come."""
        return self._ended

    @property
    def finished(self) -> bool:
        """Whether the stream has ended and every event has been given; a stream without text is at once."""
        return self._ended and (not self._begun or (self.state is not None and self.state.finished(self._profile)))

    @property
    def pending(self) -> bool:
        """Whether there is something to take."""
        if self._told < len(self._entries):
            return self._words_told < self._ahead
        return self._told_epoch != self.epoch or (self._begun and self._told_end != self._ended)

    def take(self) -> Script:
        """What is new for the engine's process since `take` or `rewind`; only while `pending`."""
        assert self.pending, "nothing is ready to be taken"
        entries = list[Entry]()
        for entry in islice(self._entries, self._told, None):
            if self._words_told >= self._ahead:
                break
            entries.append(entry)
            self._words_told += bool(entry.text)
        self._told += len(entries)
        self._told_end = self._ended and self._told == len(self._entries)
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
        return events

    def _add(self, entries: list[Entry]) -> None:
        self._entries.extend(entries)
        self._begun |= bool(entries)

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
            entry = self._entries.popleft()
            self._told -= 1
            self._words_told -= bool(entry.text)
            self._word = (entry.text, now) if entry.text else None
        return over

    def _spoken(self, stop: float) -> SpeechEvent:
        assert self._word is not None
        (text, start), self._word = self._word, None
        return WordSpoken(text, start, stop)
