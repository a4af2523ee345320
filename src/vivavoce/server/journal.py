"""The journal of one stream: its id on every line of the log, a line when it opens and one when it ends, its span."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from starlette.websockets import WebSocketDisconnect

from vivavoce.core import Event, SpeechEvent, StreamError, Vad, WordDropped, WordEnded, WordSpoken, seconds

from . import logs, traces

if TYPE_CHECKING:
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)


class Journalled(Protocol):
    """What the journal wants to know of a stream."""

    @property
    def id(self) -> str: ...
    @property
    def samples(self) -> int: ...  # of audio, heard or spoken


class Journal:
    """`with Journal(stream, "stt", dialect="moshi", who=admitted.who) as journal:`, and `journal.saw(event)`."""

    def __init__(self, stream: Journalled, model: str, *, dialect: str, who: str) -> None:
        self._stream, self._model, self._dialect, self._who = stream, model, dialect, who
        self._name = stream.id[:8]  # who knows all of it may resume the stream
        self._stack = ExitStack()
        self._span: Span | None = None
        self.words = self.suspects = 0

    def saw(self, event: Event | SpeechEvent) -> None:
        """Counts words."""
        match event:
            case Vad():  # first, as it is the most
                pass
            case WordSpoken():
                self.words += 1
            case WordEnded(word):
                self.words += 1
                self.suspects += word.suspect is not None
            case WordDropped(word):
                self.suspects += word.suspect is not None

    def __enter__(self) -> Journal:
        self._opened = time.monotonic()
        self._stack.enter_context(logs.session(self._name))
        if tracer := traces.tracer():
            self._span = tracer.start_span("stream", attributes={"session": self._name, "dialect": self._dialect})
            self._span.set_attribute("model", self._model)
        logger.info("Stream opened: %s, %s, %s", self._model, self._dialect, self._who)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        audio, lasted = seconds(self._stream.samples), time.monotonic() - self._opened
        fault = error.fault.name if isinstance(error, StreamError) else kind.__name__ if kind else None
        ending = f"{fault}: {error}" if fault else "done"
        if isinstance(error, WebSocketDisconnect):  # 1000 and 1005 are how a client says that it is done
            fault = None if error.code in (1000, 1005) else "DISCONNECTED"
            ending = f"the client left with {error.code}" + (f", {error.reason}" if error.reason else "")
        words = f"{self.words} words" + (f", {self.suspects} suspect" if self.suspects else "")
        with self._stack:
            logger.info("Stream ended after %.1f s: %.1f s of audio, %s, %s", lasted, audio, words, ending)
        if self._span is not None:
            self._span.set_attributes({"audio_seconds": audio, "words": self.words, "fault": fault or "none"})
            self._span.end()
