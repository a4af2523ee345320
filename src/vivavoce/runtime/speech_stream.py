"""The caller's end of a stream of text to speech."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import SpeechEvent

from .handle import Handle, Keeper
from .speech_lane import SpeechLane

PIECE = 4096  # characters that are taken at once


class SpeechKeeper(Keeper, Protocol):
    """Who owns the streams."""

    def settle(self, lane: SpeechLane) -> None:
        """The stream may have finished without another step."""


class SpeechStream(Handle[SpeechEvent]):
    """One caller's stream, made by `SpeechRuntime.open`."""

    def __init__(self, lane: SpeechLane, keeper: SpeechKeeper) -> None:
        super().__init__(lane, keeper)
        self._lane, self._settle = lane, keeper.settle
        self._clears = 0

    @property
    def samples(self) -> int:
        """Of audio, all that was spoken so far."""
        return self._lane.spoken

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._lane.session.ended

    async def say(self, text: str, *, whole: bool = False, speaker: int = 0) -> None:
        """More text, cut anywhere; `whole` when it ends a word. Waits while a thousand words wait; `clear` ends that.

        Raises VivavoceError, which changes nothing, for what is no text and after `end`; UnsupportedError for a word
        that the model cannot say (TtsSession.push).
        """
        clears = self._clears
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)] or [""]
        for number, piece in enumerate(pieces, 1):
            self._must_hold()
            while self._lane.full and self._held and not self._lane.backlog.closed:
                await self._lane.room()
            self._must_hold()
            if clears != self._clears:
                return
            self._lane.push(piece, whole=whole and number == len(pieces), speaker=speaker)

    def check(self, text: str) -> None:
        """Raises VivavoceError for a whole text that cannot be said, and says nothing."""
        self._lane.session.check(text)

    def voice(self, embedding: NDArray[np.float32]) -> None:
        """Speak with this one, float32 [frames, dim]; UnsupportedError, and VivavoceError after the first text."""
        self._must_hold()
        self._lane.voice(embedding)

    def flush(self, id: int | str = 0) -> None:
        """Speak all text so far to its end; `Flushed(id)` follows the last of its audio.

        Raises VivavoceError after `end`, StreamError(RATE_LIMITED) while as many as may be are unanswered.
        """
        self._must_hold()
        self._lane.flush(id)

    def clear(self) -> None:
        """The listener has interrupted: what was not read or spoken is dropped, what is said next is spoken."""
        self._must_hold()
        self._clears += 1
        self._lane.clear()
        self._settle(self._lane)

    def end(self) -> None:
        """No more text will come; the last words follow."""
        self._must_hold()
        try:
            self._lane.end()
        finally:
            self._settle(self._lane)
