"""What the caller said and the server may not have yet, so that a lost connection loses nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import SAMPLE_RATE, Flush, seconds

Samples = NDArray[np.float32]  # [n], 24 kHz
PIECE = 24_000  # samples of the longest message: 96 kB in float32


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Samples, and where they stand on the caller's clock."""

    at: int
    samples: Samples

    @property
    def stop(self) -> int:
        return self.at + len(self.samples)


@dataclass(frozen=True, slots=True)
class End:
    """No more audio will come."""


Item = Audio | Flush | End


@dataclass(frozen=True, slots=True)
class _Sent:
    item: Item
    start: int  # samples of this session sent before
    number: int  # flushes of this session sent before


@dataclass
class Clock:
    """From the session's seconds to the caller's: they part where audio was dropped or a session began late."""

    _from: list[int] = field(default_factory=list)  # samples of the session
    _shift: list[int] = field(default_factory=list)  # samples to add from there on

    def note(self, position: int, shift: int) -> None:
        """From this sample of the session on, the caller's clock is `shift` samples ahead."""
        if shift != (self._shift[-1] if self._shift else 0):
            self._from.append(position)
            self._shift.append(shift)

    def forget(self, position: int) -> None:
        """What was noted from this sample on did not happen."""
        while self._from and self._from[-1] >= position:
            self._from.pop()
            self._shift.pop()

    def caller(self, time: float) -> float:
        """A time of the session on the caller's clock, in seconds."""
        place = bisect_right(self._from, round(time * SAMPLE_RATE))
        return time + seconds(self._shift[place - 1]) if place else time


class Backlog:
    """Items in order: those sent and not acknowledged, then those that wait. Positions are in samples."""

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps  # sent audio until it is acknowledged; else only flushes and the end
        self.pushed = 0  # samples, on the caller's clock
        self.waiting_samples = self.sent_samples = 0
        self.clock = Clock()
        self._waiting: deque[Item] = deque()
        self._sent: deque[_Sent] = deque()
        self._position = self._flushes = 0  # of the session
        self._end_sent = False

    @property
    def position(self) -> int:
        """Samples sent in this session."""
        return self._position

    @property
    def end_sent(self) -> bool:
        """Whether the server of this session knows that no more audio will come."""
        return self._end_sent

    def __bool__(self) -> bool:
        """Whether anything waits to be sent."""
        return bool(self._waiting)

    @property
    def held_seconds(self) -> float:
        """Audio in memory."""
        return seconds(self.waiting_samples + self.sent_samples)

    def push(self, samples: Samples) -> None:
        """Take a copy, in pieces of at most a second."""
        for start in range(0, len(samples), PIECE):
            piece = np.array(samples[start : start + PIECE], np.float32)
            self._waiting.append(Audio(self.pushed, piece))
            self.pushed += len(piece)
            self.waiting_samples += len(piece)

    def append(self, item: Flush | End) -> None:
        """A flush or the end, after all audio so far."""
        self._waiting.append(item)

    def next(self) -> Item:
        """The next item to send; it counts as sent."""
        item = self._waiting.popleft()
        keep = self.keeps or not isinstance(item, Audio)
        if keep:
            self._sent.append(_Sent(item, self._position, self._flushes))
        if isinstance(item, Audio):
            self.clock.note(self._position, item.at - self._position)
            self._position += len(item.samples)
            self.waiting_samples -= len(item.samples)
            self.sent_samples += len(item.samples) if keep else 0
        elif isinstance(item, Flush):
            self._flushes += 1
        else:
            self._end_sent = True
        return item

    def acknowledge(self, samples: int) -> None:
        """The server has the first `samples` of this session, and every flush before the last of them."""
        while self._sent and self._is_behind(self._sent[0], samples):
            self._forget_oldest()

    def _is_behind(self, sent: _Sent, samples: int) -> bool:
        if isinstance(sent.item, Audio):
            return sent.start + len(sent.item.samples) <= samples
        return isinstance(sent.item, Flush) and sent.start < samples

    def answered(self, id: int | str) -> None:
        """A flush has come back."""
        self._sent = deque(sent for sent in self._sent if not (isinstance(sent.item, Flush) and sent.item.id == id))

    def trim(self, limit: float) -> None:
        """Forget the oldest sent audio beyond `limit` seconds: of a server that acknowledges nothing."""
        while self._sent and self.held_seconds > limit:
            self._forget_oldest()

    def drop(self, limit: float) -> tuple[int, int]:
        """Throw waiting audio away, oldest first, until `limit` seconds are held: (where it began, how much)."""
        dropped, first = 0, self.pushed
        for item in [item for item in self._waiting if isinstance(item, Audio)]:
            if self.held_seconds <= limit:
                break
            self._waiting.remove(item)
            self.waiting_samples -= len(item.samples)
            first, dropped = min(first, item.at), dropped + len(item.samples)
        return first, dropped

    def rewind(self, samples: int, flushes: int, ended: bool) -> int:
        """The session goes on where the server has this much; how many samples after that are not held any more."""
        again = list(self._missing(samples, flushes, ended))
        oldest = min((sent.start for sent in self._sent if isinstance(sent.item, Audio)), default=self._position)
        lost = max(0, oldest - samples)
        self._position, self._flushes, self._end_sent = samples, flushes, ended
        self.clock.forget(samples)
        self._resend(again)
        return lost

    def _missing(self, samples: int, flushes: int, ended: bool) -> Iterable[Item]:
        for sent in self._sent:
            match sent.item:
                case Audio(at, piece):
                    known = max(0, samples - sent.start)
                    if known < len(piece):
                        yield Audio(at + known, piece[known:])
                case Flush():
                    if sent.number >= flushes:
                        yield sent.item
                case End():
                    if not ended:
                        yield sent.item

    def restart(self, heard: int) -> int:
        """A new session: send again what is held from `heard` (caller's samples) on; where it begins."""
        again = [sent.item for sent in self._sent if not (isinstance(sent.item, Audio) and sent.item.stop <= heard)]
        self._position = self._flushes = 0
        self._end_sent = False
        self.clock = Clock()
        self._resend(again)
        return next((item.at for item in self._waiting if isinstance(item, Audio)), self.pushed)

    def _resend(self, items: list[Item]) -> None:
        self._sent.clear()
        self.sent_samples = 0
        self.waiting_samples += sum(len(item.samples) for item in items if isinstance(item, Audio))
        self._waiting.extendleft(reversed(items))

    def _forget_oldest(self) -> None:
        item = self._sent.popleft().item
        if isinstance(item, Audio):
            self.sent_samples -= len(item.samples)
