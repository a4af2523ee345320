"""From the events of one channel's stream to Deepgram's results.

Three things are kept apart: text that may grow (interim), text that will not change (is_final), and a pause
(speech_final). Words are final once and never told again. A pause is what loudness hears; its words are told when the
text, which is behind the audio, has come so far.
"""

from __future__ import annotations

import math
import string
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vivavoce.core import FRAME_RATE, Event, Flushed, Vad, Word, WordEnded, WordStarted

from .deepgram_wishes import Wishes

LONGEST = 5.0  # seconds of words that are not final; then the complete ones are
Message = dict[str, object]


class Results:
    """Of one channel; `delay` is how many seconds the text is behind the audio."""

    def __init__(self, asked: Wishes, channel: int, delay: float, request: str) -> None:
        self._asked, self._channel, self._lag = asked, channel, delay + 1 / FRAME_RATE
        self._metadata = {"request_id": request, **model(asked)}
        self._words: list[Word] = []  # complete ones that are not final
        self._open: Word | None = None  # complete but for its end
        self._told: float | None = None  # where a word starts that was final before its end was known
        self._heard = 0.0  # seconds: text is known so far
        self._start = 0.0  # seconds: of what is not final
        self._stops = deque[tuple[float, float]]()  # seconds: where speech stopped, and where that was known
        self._finalizing = deque[tuple[float, bool]]()  # seconds at a Finalize, and whether somebody was speaking
        self._last_end: float | None = None  # of a word whose utterance has not ended

    def stopped(self, end: float, known: float) -> None:
        """Loudness has heard speech stop at `end` seconds, and knows it since `known`."""
        self._stops.append((end, known))

    def finalizing(self, time: float, speaking: bool) -> None:
        """A flush was asked for at `time` seconds of the audio."""
        self._finalizing.append((time, speaking))

    def tell(self, event: Event) -> Iterator[Message]:
        """The messages of one event."""
        match event:
            case WordStarted(text, start, confidence):
                self._heard = max(self._heard, start)  # all words before it have been told
                yield from self._settle()
                self._open = Word(text, start, max(start, self._heard), confidence)
                if self._asked.interim:
                    yield self._results([*self._words, self._open], self._heard, final=False)
            case WordEnded(word) if word.start == self._told:
                self._told = None
            case WordEnded(word):
                self._words.append(word)
                self._open = None
            case Vad(time):
                self._heard = max(self._heard, time - self._lag)
                yield from self._settle()
            case Flushed():
                self._heard, speaking = self._finalizing.popleft()
                yield self._final(self._take(), self._heard, pause=not speaking, asked=True)

    def last(self, time: float) -> Iterator[Message]:
        """The stream has ended after `time` seconds."""
        if words := self._take():
            yield self._final(words, time, pause=True)

    def _settle(self) -> Iterator[Message]:
        while self._stops and self._heard >= self._stops[0][1]:
            end, known = self._stops.popleft()
            between = (end + known) / 2  # words' times are as fine as frames
            if self._open and self._open.start < between:
                self._open = replace(self._open, stop=max(self._open.start, end))
            if self._asked.endpointing is not None and (words := self._take(between)):
                yield self._final(words, between, pause=True)
        if self._words and self._words[-1].stop - self._start > LONGEST:
            words = self._take(complete=True)
            yield self._final(words, words[-1].stop)
        yield from self._end_utterance()

    def _end_utterance(self) -> Iterator[Message]:
        waiting = self._open or (self._words[-1] if self._words else None)
        last, gap = waiting.stop if waiting else self._last_end, self._asked.utterance_end
        if gap is None or last is None or self._heard - last < gap:
            return
        if words := self._take():
            yield self._final(words, self._heard)
        yield {"type": "UtteranceEnd", "channel": [self._channel, self._asked.streams], "last_word_end": _time(last)}
        self._last_end = None

    def _take(self, before: float = math.inf, complete: bool = False) -> list[Word]:
        """The words that are to be final: those that start before that."""
        taken = [word for word in self._words if word.start < before]
        self._words = self._words[len(taken) :]
        if self._open and self._open.start < before and not complete:
            taken.append(self._open)
            self._told, self._open = self._open.start, None
        if taken:
            self._last_end = taken[-1].stop
        return taken

    def _final(self, words: Sequence[Word], end: float, *, pause: bool = False, asked: bool = False) -> Message:
        return self._results(words, end, final=True, pause=pause, asked=asked)

    def _results(
        self, words: Sequence[Word], end: float, *, final: bool, pause: bool = False, asked: bool = False
    ) -> Message:
        start, end = self._start, max([self._start, end, *(word.stop for word in words)])
        if final:
            self._start = end
        return {
            "type": "Results",
            "channel_index": [self._channel, self._asked.streams],
            "duration": _time(end - start),
            "start": _time(start),
            "is_final": final,
            "speech_final": pause,
            "channel": {"alternatives": [alternative(words)]},
            "metadata": self._metadata,
            "from_finalize": asked,
        }


def alternative(words: Sequence[Word]) -> Message:
    """What was said."""
    mean = sum(word.confidence for word in words) / len(words) if words else 0.0
    text = " ".join(word.text for word in words)
    return {"transcript": text, "confidence": round(mean, 4), "words": [word_map(word) for word in words]}


def word_map(word: Word) -> Message:
    """A word bare, as searches want it, and as the model wrote it."""
    return {
        "word": word.text.lower().strip(string.punctuation) or word.text,
        "start": _time(word.start),
        "end": _time(word.stop),
        "confidence": round(word.confidence, 4),
        "punctuated_word": word.text,
    }


def model(asked: Wishes) -> Message:
    """Which model it really was."""
    name = asked.offer.name
    return {"model_info": {"name": name, "version": "", "arch": "delayed-streams"}, "model_uuid": model_id(name)}


def model_id(name: str) -> str:
    """A UUID that is always the same for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _time(seconds: float) -> float:
    return round(seconds, 5)
