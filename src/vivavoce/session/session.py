"""A speech-to-text stream, from the caller's samples to events."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vivavoce.core import FRAME_SIZE, TEXT_PAD, Event, Flushed, Healed, VivavoceError, seconds
from vivavoce.session.clock import Clock
from vivavoce.session.frames import Frame, Framer, Samples
from vivavoce.session.guard import Guard
from vivavoce.session.heal import Watch, energies
from vivavoce.session.profile import SttProfile
from vivavoce.session.spelling import Speller
from vivavoce.session.turns import Turns
from vivavoce.session.words import WordBuilder


@dataclass(slots=True)
class _Taken:
    """A frame whose step has not come back."""

    frame: Frame
    energy: list[float]  # of the caller's samples
    afresh: bool  # the first of a slot that was opened afresh


class SttSession:
    """One stream: audio goes in by `push`, frames go to the engine by `take`, its tokens come back by `stepped`.

    The engine runs the BOS position when the stream opens, so that frame f yields the text at index f + 1 (spec §3.2);
    that first token is not given to the session. Frames may be taken ahead; their steps come back in order. The
    events depend on the audio, the flushes and the tokens, never on how the audio was cut or when it was stepped.

    With `heal_seconds`, so much speech without any word ends in `Healed`, and `needs_reset` says that the slot has to
    be opened afresh. Frames that were taken by then belong to the old context: their steps come back as ever. The
    stream's clock goes on.

    A `Vad` is told of each step, unless `vad` is off, which no turn depends on.

    Words that nobody can have said are told with a suspicion; with `guard` "drop" a `WordDropped` stands for each.

    Raises UnsupportedError when the model has VAD heads but not `vad_head`, for a threshold outside 0 to 1, for
    `heal_seconds` that are neither 0 (never) nor at least 1, and for a `guard` that is neither flag nor drop.
    """

    def __init__(
        self,
        profile: SttProfile,
        *,
        vad: bool = True,
        vad_head: int = 2,
        vad_threshold: float = 0.5,
        heal_seconds: float = 0.0,
        guard: str = "flag",
    ) -> None:
        self._prefix_frames, self._flush_frames = profile.prefix_frames, profile.flush_frames
        self._framer = Framer(profile.prefix_frames)
        self._taken: deque[_Taken] = deque()
        self._clock = Clock(profile.delay_frames)
        self._words = WordBuilder(Speller(profile.pieces), self._clock)
        self._turns = Turns(profile.vad_heads, vad_head, vad_threshold, vad)
        self._watch = Watch(heal_seconds, profile.delay_seconds)
        self._guard = Guard(guard, profile.delay_seconds)
        self._needs_reset = False
        self._afresh = False  # the next frame taken is the first of a new context
        self._ended = False

    def push(self, samples: Samples) -> None:
        """More audio: 1-D float32 at 24 kHz, any length.

        Raises InvalidAudioError for another type or shape or for NaN and infinite samples, and VivavoceError after
        `end`; neither changes the stream.
        """
        self._refuse_after_end("audio")
        self._framer.push(samples)

    def flush(self, id: int | str) -> None:
        """Asks for everything said so far, now; `Flushed(id)` follows the last word. VivavoceError after `end`."""
        self._refuse_after_end("flush")
        self._framer.seal(self._flush_frames, Flushed(id))

    def end(self) -> None:
        """No more audio will come; the last words follow. Ending twice is ending once."""
        if not self._ended:
            self._framer.seal(self._flush_frames, None)
        self._ended = True

    @property
    def pending(self) -> int:
        """Frames ready to be taken."""
        return len(self._framer)

    @property
    def ended(self) -> bool:
        """Whether the caller has said that no more audio will come."""
        return self._ended

    @property
    def finished(self) -> bool:
        """Whether the stream has ended and every event has been given."""
        return self._ended and not self._framer and not self._taken

    @property
    def dropped(self) -> int:
        """Words that the guard has kept back."""
        return self._guard.dropped

    def take(self) -> Samples:
        """The next frame to step, [1920], the receiver's own; only while `pending` and after heeding `needs_reset`."""
        assert self.pending, "no frame is ready to be taken"
        assert not self._needs_reset, "the slot must be opened afresh before the next frame"
        frame = self._framer.pop()
        energy = frame.energy
        if energy is None:
            energy = [] if frame.samples is None else energies(frame.samples[: frame.heard])
        self._taken.append(_Taken(frame, energy, self._afresh))
        self._afresh = False
        return np.zeros(FRAME_SIZE, np.float32) if frame.samples is None else frame.samples

    def needs_reset(self) -> bool:
        """Whether the slot must be closed and opened again before the next frame is taken; says so once."""
        needed, self._needs_reset = self._needs_reset, False
        return needed

    def stepped(self, token: int, logprob: float, vad: Sequence[float]) -> list[Event]:
        """What the oldest taken frame told: its text token, that token's log-probability, a pause for each VAD head."""
        assert self._taken, "a step came back of a frame that was never taken"
        assert not math.isnan(logprob), "a step came back with a log-probability that is not a number"
        taken = self._taken.popleft()
        if token == TEXT_PAD and self._words.idle and not (taken.afresh or taken.frame.closes):
            words = list[Event]()
            self._clock.advance(taken.frame.heard)
        else:
            words = list(self._hear(taken, token, logprob))
        self._guard.hear(taken.energy, self._clock.now)
        if words:
            words = self._guard.judge(words)
        events = self._turns.follow(seconds(self._clock.now), vad, words)
        if taken.frame.answer:
            events.append(taken.frame.answer)
        silent = self._watch.follow(taken.energy, words)
        if silent and (self.pending or not self._ended):
            self._needs_reset = self._afresh = True
            self._framer.precede(self._prefix_frames)
            events.append(Healed(seconds(self._clock.now), silent))
        return events

    def _hear(self, taken: _Taken, token: int, logprob: float) -> Iterator[Event]:
        if taken.afresh:  # the word that the old context had begun will not go on
            yield from self._words.close()
            self._clock.restart()
        self._clock.advance(taken.frame.heard)
        yield from self._words.hear(token, logprob)
        if taken.frame.closes:
            yield from self._words.close()

    def _refuse_after_end(self, what: str) -> None:
        if self._ended:
            raise VivavoceError(f"the stream has ended: no {what} is taken after end()")
