"""What both dialects have in common: the caller's items to frames, the server's frames to events and signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vivavoce import core
from vivavoce.core import Fault, Flush, KeyTerm, StreamError, VivavoceError

from .backlog import Samples

Frame = str | bytes
Query = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Ready:
    """The server's first message; on a resume, how much of the stream it has."""

    session: str | None = None
    model: str | None = None
    samples: int = 0
    flushes: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """The server has the first `samples` of the session."""

    samples: int


@dataclass(frozen=True, slots=True)
class Problem:
    """An error message; the connection may go on."""

    error: StreamError


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything asked for has been said; the client may close."""


Signal = Ready | Ack | Problem | Finished


class UnreadableError(VivavoceError):
    """The server sent what is no message of the dialect."""


@dataclass(frozen=True)
class Options:
    """What is asked of the server; None leaves the choice to it."""

    words: bool = True  # events with times
    vad: bool = False  # an event for every step
    vad_head: int | None = None
    vad_threshold: float | None = None
    temperature: float | None = None
    resume: bool = True
    seed: int | None = None
    guard: str | None = None
    key_terms: tuple[KeyTerm, ...] = ()


class Wire(Protocol):
    """One dialect; holds what a connection must remember."""

    keeps: bool  # whether sessions can be resumed, so that sent audio must be kept

    def met(self, headers: Mapping[str, str]) -> None:
        """A connection stands; the headers of the server's answer."""

    def query(self, session: str | None) -> Query:
        """The URL's query for a new session, or to go on with one."""

    def begin(self) -> None:
        """A new session, not a resumed one, has begun."""

    def audio(self, samples: Samples) -> Frame:
        """Samples [n] as a message."""

    def flush(self, flush: Flush) -> Frame:
        """A flush as a message."""

    def end(self) -> Frame:
        """No more audio will come."""

    def keepalive(self) -> Frame:
        """Sent while nobody speaks."""

    def patience(self) -> Frame | None:
        """Sent every 80 ms from the end until the server has finished; None where that is not needed."""

    def decode(self, frame: Frame) -> list[core.Event | Signal]:
        """Events and signals of one message. Raises UnreadableError."""

    def closing(self, stop: float) -> list[core.Event]:
        """What is still owed when the stream, `stop` seconds long, has finished."""


def problem(code: object, message: object, retry_after: object = None) -> Problem:
    """An error message with the fault it names, INTERNAL when it names none that is known."""
    from .faults import by_name

    fault = by_name(code) or Fault.INTERNAL
    wait = float(retry_after) if isinstance(retry_after, int | float) else None
    return Problem(StreamError(fault, str(message or fault.meaning), wait))
