"""What the server keeps of a stream of speech to text."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_RATE, FRAME_SIZE, Event, Fault, KeyTerm, StreamError, UnsupportedError
from vivavoce.engine.snapshot import History
from vivavoce.session import SttProfile, SttSession, key_terms
from vivavoce.settings.limits import Limits

from .guest import Guest
from .messages import ModelInfo, Open, restore
from .options import StreamOptions
from .seam import Engine
from .vault import Luggage

Samples = NDArray[np.float32]
AHEAD = 16  # frames of a stream on their way through the engine: a whole flush; the rest wait in the session
MOST_FLUSHES = 64  # unanswered; each costs the engine the model's delay in silence


class _Sent(NamedTuple):
    """A frame that the engine has not answered."""

    samples: Samples
    afresh: bool


class Answer(NamedTuple):
    """What one frame gave."""

    token: int
    logprob: float
    vad: Sequence[float]
    codes: NDArray[np.int32]  # [n_q]
    start: int | None  # the first text token of the new context, of a frame that was heard afresh


class Lane(Guest[Event]):
    """One stream: its session, its history, and its frames that the engine has not answered.

    Bounded: `queue_seconds` and one push of audio (96 kB a second), MOST_FLUSHES flushes,
    the history of `ModelInfo.snapshot_frames`, and twice `event_backlog` events.
    """

    def __init__(
        self, id: str, options: StreamOptions, info: ModelInfo, limits: Limits, expired: Callable[[StreamError], None]
    ) -> None:
        self._begin(info, options, limits)  # first: it may refuse the options
        super().__init__(id, limits, expired, resumable=options.resumable, awaited="audio")
        self.temperature = info.temperature if options.temperature is None else options.temperature
        self.received = self.asked = 0  # samples, flushes
        self.flushes = deque[float]()  # when those unanswered were asked for
        self._info, self._limits = info, limits
        self._most_waiting = max(1, round(limits.queue_seconds * FRAME_RATE))

    def _begin(self, info: ModelInfo, options: StreamOptions, limits: Limits) -> None:
        self._terms = key_terms.spell(options.key_terms, info.tokenizer, info.pieces)
        self.session, self.options = _session(info, options, limits), options
        self._history: History | None = None
        self._sent = deque[_Sent]()

    @property
    def queued(self) -> int:
        """Samples that wait for their step."""
        return (self.session.pending + len(self._sent)) * FRAME_SIZE

    @property
    def behind(self) -> bool:
        return self.queued > 0

    @property
    def finished(self) -> bool:
        return self.session.finished

    # --- the caller's side ---

    @property
    def full(self) -> bool:
        """Whether as much audio waits as may."""
        return self.session.pending + len(self._sent) >= self._most_waiting

    def expect(self, terms: tuple[KeyTerm, ...]) -> None:
        """Other key terms, for a stream that has heard nothing; it has to begin again. Raises UnsupportedError."""
        if self.received or self.asked or self.session.ended:
            raise UnsupportedError("key terms can be told before the first audio only")
        self._begin(self._info, replace(self.options, key_terms=terms), self._limits)

    def push(self, samples: Samples) -> None:
        self.session.push(samples)
        self.patience.hear()
        if not self.received:
            self.begun = asyncio.get_running_loop().time()
        self.received += len(samples)
        self.feed()

    def flush(self, id: int | str, now: float) -> None:
        if len(self.flushes) >= MOST_FLUSHES:
            raise StreamError(Fault.RATE_LIMITED, f"{MOST_FLUSHES} flushes wait for their answer")
        self.session.flush(id)
        self.flushes.append(now)
        self.asked += 1
        self.patience.hear()
        self.feed()

    def end(self) -> None:
        self.session.end()
        self.patience.end()
        self.feed()

    def over(self, error: StreamError | None = None) -> None:
        super().over(error)
        self._history = None  # no engine will go on with it; its reader may take a minute yet

    # --- the engine's side ---

    def enter(self, engine: Engine, number: int, slot: int) -> None:
        """Begin, or go on where the newest answer left off: what was not answered is sent again."""
        self._engine, self.number, self.slot = engine, number, slot
        if self._history is None:
            engine.send(Open(number, slot, self.temperature, self.options.seed, self._terms))
        else:
            engine.send(restore(number, slot, self._history.snapshot()))
        for sent in self._sent:
            engine.send_frame(number, *sent)
        self.feed()

    def feed(self) -> None:
        """Send frames ahead, as many as may be on their way."""
        engine, number, session = self._engine, self.number, self.session
        while engine and number is not None and session.pending and len(self._sent) < AHEAD:
            afresh = session.needs_reset()  # asked first: it speaks of the frame that is taken next
            sent = _Sent(session.take(), afresh)
            self._sent.append(sent)
            engine.send_frame(number, *sent)
        if not self._room.is_set() and not self.full:
            self._room.set()

    def opened(self, token: int | None) -> None:
        """The engine has a slot open for it; `token` when it begins."""
        if token is not None:
            self._begin_history(token)

    def answered(self, answer: Answer) -> list[Event]:
        """What the oldest frame on its way gave; the events are in the backlog."""
        token, logprob, vad, codes, start = answer
        sent = self._sent.popleft()
        if start is not None:
            self._begin_history(start)
        assert self._history is not None, "a step came back of a stream that was never opened"
        self._history.add(sent.samples, token, codes)
        events = self.session.stepped(token, logprob, vad)
        self.steps += 1
        self.patience.hear()  # until now it was the caller who waited
        self.feed()
        if events:
            self.backlog.extend(events)
        return events

    # --- to another server ---

    def pack(self) -> bytes:
        """What another server needs to go on with the stream as it is now."""
        events, first = self.backlog.contents()
        luggage = Luggage(
            self.options, self.session, self._history, list(self._sent), events, first, self.backlog.position,
            self.received, self.asked, len(self.flushes), self.steps, self.created,
        )  # fmt: skip
        return luggage.pack(self._info.pieces)

    @classmethod
    def unpack(
        cls, id: str, data: bytes, info: ModelInfo, limits: Limits, expired: Callable[[StreamError], None]
    ) -> Lane:
        """A stream of another server, without a slot."""
        luggage = Luggage.unpack(data, info.pieces)
        lane = cls(id, luggage.options, info, limits, expired)
        lane.session, lane._history, lane._sent = luggage.session, luggage.history, deque(luggage.sent)
        lane.received, lane.asked, lane.steps = luggage.received, luggage.asked, luggage.steps
        lane.flushes.extend([asyncio.get_running_loop().time()] * luggage.unanswered)
        lane.created = luggage.created
        lane.backlog.move_in(luggage.events, luggage.first, luggage.read)
        if lane.session.ended:
            lane.patience.end()
        return lane

    def _begin_history(self, token: int) -> None:
        info = self._info
        columns, frames = info.snapshot_frames
        self._history = History(token, columns, frames, info.n_q, self.temperature, self.options.seed, self._terms)


def _session(info: ModelInfo, options: StreamOptions, limits: Limits) -> SttSession:
    profile = SttProfile(info.pieces, info.delay_seconds, info.silence_prefix_seconds, info.vad_heads)
    head = info.vad_head if options.vad_head is None else options.vad_head
    heal = limits.heal_seconds if options.heal else 0.0
    return SttSession(
        profile,
        vad=options.vad,
        vad_head=head,
        vad_threshold=options.vad_threshold,
        heal_seconds=heal,
        guard=options.guard,
    )
