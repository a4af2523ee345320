"""One text, spoken: its events to the sinks, its words and its times to the reader."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from vivavoce.core import SAMPLE_RATE, Speech, VivavoceError, WordSpoken

from .progress import bar

if TYPE_CHECKING:
    from .sinks import Sink
    from .texts import Pieces
    from .voice import Voice


class Said:
    """What came of it, and when."""

    def __init__(self, *, keep: bool) -> None:
        """`keep` all audio, for `as_json`."""
        self.words: list[WordSpoken] = []
        self._keep = keep
        self._frames: list[Any] = []
        self._first_text: float | None = None
        self._first_audio: float | None = None
        self._last_audio = 0.0

    async def heed(self, texts: Pieces) -> Pieces:
        """The same pieces; the clock starts with the first that has a word."""
        async for piece in texts:
            if self._first_text is None and isinstance(piece, str) and piece.strip():
                self._first_text = perf_counter()
            yield piece

    def add(self, event: Speech | WordSpoken) -> None:
        if isinstance(event, WordSpoken):
            self.words.append(event)
            return
        self._last_audio = perf_counter()
        self._first_audio = self._last_audio if self._first_audio is None else self._first_audio
        if self._keep:
            self._frames.append(event.samples)

    @property
    def silent(self) -> bool:
        """Whether no audio has come."""
        return self._first_audio is None

    def as_json(self, voice: Voice) -> dict[str, Any]:
        """Seconds; `rtf` is time taken / audio, from the first text to the last audio."""
        from vivavoce.audio.integrity import examine

        assert self._first_text is not None and self._first_audio is not None, "nothing was said"
        whole = examine(np.concatenate(self._frames))
        taken = self._last_audio - self._first_text
        return {
            "text": " ".join(word.text for word in self.words),
            "model": voice.model,
            "voice": voice.name,
            "sample_rate": SAMPLE_RATE,
            "audio_seconds": round(whole.seconds, 3),
            "first_audio_seconds": round(self._first_audio - self._first_text, 4),
            "wall_seconds": round(taken, 4),
            "rtf": round(taken / whole.seconds, 4),
            "words": [times(word) for word in self.words],
            "peak_dbfs": whole.peak_dbfs,
            "faults": whole.faults,
        }


async def say(voice: Voice, texts: Pieces, sinks: Sequence[Sink], *, keep: bool, word_times: bool, quiet: bool) -> Said:
    """Speak a text into all sinks, to its end. Raises VivavoceError for one without a word, and what they raise."""
    said = Said(keep=keep)
    with bar(1, 0.0 if quiet else None) as shown:
        async with aclosing(voice.speak(said.heed(texts))) as events:  # type: ignore[type-var]
            async for event in events:
                if not isinstance(event, Speech | WordSpoken):
                    continue
                said.add(event)
                if isinstance(event, WordSpoken):
                    if word_times:
                        typer.echo(f"{event.start:9.3f} {event.stop:9.3f}  {event.text}")
                    continue
                shown.advance(len(event.samples) / SAMPLE_RATE)
                for sink in sinks:
                    await sink.play(event.samples)
    if said.silent:
        raise VivavoceError("nothing was said: the text has no words")
    for sink in sinks:
        await sink.drain()
    return said


def times(word: WordSpoken) -> dict[str, Any]:
    return {"text": word.text, "start": round(word.start, 3), "stop": round(word.stop, 3)}
