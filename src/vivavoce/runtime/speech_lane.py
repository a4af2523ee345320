"""What the server keeps of a stream of text to speech."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import (
    FRAME_RATE,
    FRAME_SIZE,
    Cleared,
    Fault,
    Flushed,
    Speech,
    SpeechEvent,
    StreamError,
    UnknownVoiceError,
    UnsupportedError,
    VivavoceError,
)
from vivavoce.session import TtsSession
from vivavoce.settings.limits import Limits

from .guest import Guest
from .options import SpeechOptions
from .seam import Engine
from .speech_messages import Grant, Said, Speak, SpeechInfo, Text, Wish, go_on

AHEAD = 4  # grants of a stream on their way through the engine
MOST_WORDS = 1000  # that wait to be spoken: some five minutes
MOST_FLUSHES = 64  # unanswered


class SpeechLane(Guest[SpeechEvent]):
    """One stream: its session, and the grants that it has given the engine and that were not answered.

    A grant lets the engine make one step of the stream. It gives none while the reader has `queue_seconds` of audio
    to read, and none while the engine has said that it lacks text. Bounded: MOST_WORDS words and one push of text,
    MOST_FLUSHES flushes, that much audio, AHEAD grants, the history of `SpeechInfo.history_steps`.
    """

    def __init__(
        self, id: str, options: SpeechOptions, info: SpeechInfo, limits: Limits, expired: Callable[[StreamError], None]
    ) -> None:
        self._wish = _wish(options, info)  # first: it may refuse the options
        super().__init__(id, limits, expired, resumable=False, awaited="text")
        self.spoken = 0  # samples
        self.pushed = False  # some text
        self.session = TtsSession(info.profile, info.dep_q, info.history_steps)
        self._info = info
        self._most_unread = max(1, round(limits.queue_seconds * FRAME_RATE))
        self._entered = False  # the engine has the stream open, or will
        self._grants = deque[int]()  # on their way; for each, how many scripts had been sent before it
        self._scripts = 0
        self._starved = False

    @property
    def queued(self) -> int:
        """Samples that wait for their reader."""
        return sum(isinstance(event, Speech) for event in self.backlog.waiting()) * FRAME_SIZE

    @property
    def behind(self) -> bool:
        return self.full

    @property
    def finished(self) -> bool:
        return self.session.finished

    # --- the caller's side ---

    @property
    def full(self) -> bool:
        """Whether as many words wait as may."""
        return self.session.waiting >= MOST_WORDS

    def voice(self, embedding: NDArray[np.float32]) -> None:
        """Speak with this one, float32 [frames, dim]. Raises UnsupportedError, and VivavoceError after text."""
        if self.pushed:
            raise VivavoceError("a voice must come before the first text")
        if self._info.voice_shape is None:
            raise UnsupportedError(f"{self._info.name} takes no speaker embeddings")
        frames, width = self._info.voice_shape
        if embedding.ndim != 2 or embedding.shape[1] != width or not 0 < len(embedding) <= frames:
            raise UnsupportedError(
                f"{self._info.name} takes speaker embeddings of 1 to {frames} frames and width {width}, "
                f"got {list(embedding.shape)}"
            )
        data = np.ascontiguousarray(embedding, np.float32).tobytes()
        wish = self._wish
        self._wish = Wish((), data, wish.cfg, wish.temperature, wish.top_k, wish.seed)
        self.patience.hear()

    def push(self, text: str, *, whole: bool, speaker: int) -> None:
        self.session.push(text, whole=whole, speaker=speaker)
        self.patience.hear()
        if not self.pushed:
            self.begun = asyncio.get_running_loop().time()
        self.pushed = True
        self.feed()

    def flush(self, id: int | str) -> None:
        """Raises StreamError(RATE_LIMITED), and VivavoceError after the end."""
        if self.session.flushing >= MOST_FLUSHES:
            raise StreamError(Fault.RATE_LIMITED, f"{MOST_FLUSHES} flushes wait for their answer")
        self.backlog.extend(self.session.flush(id))
        self.patience.hear()
        self.feed()

    def clear(self) -> None:
        """What was not read is dropped, what was not spoken too; flushes are answered."""
        answers = [event for event in self.backlog.waiting() if isinstance(event, Flushed)]
        cut = self.session.clear()
        self.backlog.drop()
        self.backlog.extend([*answers, *cut, Cleared(self.session.time)])
        self.patience.hear()
        self._starved = False
        self.feed()

    def end(self) -> None:
        try:
            self.session.end()
        finally:  # the last word may be none that the model can say
            self.patience.end()
            self.feed()

    def was_read(self) -> None:
        self.feed()

    # --- the engine's side ---

    def enter(self, engine: Engine, number: int, slot: int) -> None:
        self._engine, self.number, self.slot = engine, number, slot
        self._entered = self._starved = False
        self._grants.clear()
        self._scripts = 0
        self.session.rewind()
        self.feed()

    def feed(self) -> None:
        """Tell the engine the text, and give it as many grants as may be on their way."""
        if self._engine is None or self.number is None or self.backlog.closed:
            return
        if not self._entered and (self.session.pending or self.session.state):
            self._begin(self._engine, self.number)
        if self._entered and self.session.pending:
            script = self.session.take()
            self._engine.send(Text(self.number, script.epoch, script.entries, script.ended))
            self._scripts += 1
            self._starved = False
        while self._entered and not self._starved and len(self._grants) < AHEAD and self._has_room:
            self._grants.append(self._scripts)
            self._engine.send(Grant(self.number))
        if not self.full:
            self._room.set()

    @property
    def _has_room(self) -> bool:
        return self.backlog.unread + len(self._grants) < self._most_unread and not self.finished

    def _begin(self, engine: Engine, number: int) -> None:
        assert self.slot is not None
        session = self.session
        if session.state is None:
            engine.send(Speak(number, self.slot, self._wish, session.epoch))
        else:
            engine.send(go_on(number, self.slot, self._wish, session.epoch, session.state, session.history))
        self._entered = True

    def answered(self, said: Said) -> list[SpeechEvent]:
        """What the oldest grant on its way gave; the events are in the backlog."""
        self._grants.popleft()
        audio = np.frombuffer(said.audio, np.float32) if said.audio else None
        events = self.session.stepped(said.epoch, said.token, said.codes, audio, said.state)
        self.steps += 1
        self.patience.hear()  # whoever sent much text at once is not idle while it is spoken
        self.spoken += FRAME_SIZE * sum(isinstance(event, Speech) for event in events)
        self.backlog.extend(events)
        self.feed()
        return events

    def starved(self) -> None:
        """The oldest grant on its way could not be taken: the engine lacks text, unless that came since."""
        self._starved |= self._grants.popleft() == self._scripts
        self.feed()


def _wish(options: SpeechOptions, info: SpeechInfo) -> Wish:
    """Raises UnknownVoiceError, UnsupportedError."""
    voices = ((info.voice,) if info.voice else ()) if options.voices is None else options.voices
    if len(voices) > info.most_voices:
        most = "one voice" if info.most_voices == 1 else f"at most {info.most_voices} voices"
        raise UnsupportedError(f"{info.name} speaks with {most} in one stream, got {len(voices)}")
    for name in voices:
        if name not in info.voices:
            raise UnknownVoiceError(_unknown(name, info))
    return Wish(voices, b"", options.cfg, options.temperature, options.top_k, options.seed)


def _unknown(name: str, info: SpeechInfo) -> str:
    if not info.voices:
        return f"there is no voice {name[:80]!r}: {info.name} has no voices to choose from"
    similar = get_close_matches(name[:200], info.voices, 3) or info.voices[:3]
    return f"there is no voice {name[:80]!r}; there are {len(info.voices)}, for example {', '.join(similar)}"
