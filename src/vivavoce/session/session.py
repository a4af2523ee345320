"""A speech-to-text stream, from the caller's samples to events."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from vivavoce.core import FRAME_SIZE, Event, Flushed, VivavoceError, seconds
from vivavoce.session.clock import Clock
from vivavoce.session.frames import Frame, Framer, Samples
from vivavoce.session.profile import SttProfile
from vivavoce.session.spelling import Speller
from vivavoce.session.turns import Turns
from vivavoce.session.words import WordBuilder


class SttSession:
    """One stream: audio goes in by `push`, frames go to the engine by `take`, its tokens come back by `stepped`.

    The engine runs the BOS position when the stream opens, so that frame f yields the text at index f + 1 (spec §3.2);
    that first token is not given to the session. Frames may be taken ahead; their steps come back in order. The
    events depend on the audio, the flushes and the tokens, never on how the audio was cut or when it was stepped.

    Raises UnsupportedError when the model has VAD heads but not `vad_head`, or for a threshold outside 0 to 1.
    """

    def __init__(self, profile: SttProfile, *, vad_head: int = 2, vad_threshold: float = 0.5) -> None:
        self._flush_frames = profile.flush_frames
        self._framer = Framer(profile.prefix_frames)
        self._taken: deque[Frame] = deque()
        self._clock = Clock(profile.delay_frames)
        self._words = WordBuilder(Speller(profile.pieces), self._clock)
        self._turns = Turns(profile.vad_heads, vad_head, vad_threshold)
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

    def take(self) -> Samples:
        """The next frame to step, [1920], the receiver's own; only while `pending`."""
        assert self.pending, "no frame is ready to be taken"
        frame = self._framer.pop()
        self._taken.append(frame)
        return np.zeros(FRAME_SIZE, np.float32) if frame.samples is None else frame.samples

    def stepped(self, token: int, logprob: float, vad: Sequence[float]) -> list[Event]:
        """What the oldest taken frame told: its text token, that token's log-probability, a pause for each VAD head."""
        assert self._taken, "a step came back of a frame that was never taken"
        assert not math.isnan(logprob), "a step came back with a log-probability that is not a number"
        frame = self._taken.popleft()
        self._clock.advance(frame.heard)
        words = list(self._words.hear(token, logprob))
        if frame.closes:
            words.extend(self._words.close())
        events = self._turns.follow(seconds(self._clock.now), vad, words)
        return [*events, frame.answer] if frame.answer else events

    def _refuse_after_end(self, what: str) -> None:
        if self._ended:
            raise VivavoceError(f"the stream has ended: no {what} is taken after end()")
