"""An engine that says what a test tells it to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vivavoce.core import FRAME_SIZE, Event, Token, Vad, Word, WordEnded, WordStarted
from vivavoce.session import SttProfile, SttSession
from vivavoce.session.frames import Samples

MARK, PAD = 0, 3
PIECES = (
    *("<unk>", "<s>", "</s>", "<pad>"),
    *("▁hel", "lo", "▁you", "▁", "a", "▁b", "c", "<0xE2>", "<0x82>", "<0xAC>", "<unk>", "▁I", "'m"),
)
ID = {piece: index for index, piece in enumerate(PIECES) if index > PAD}
PROFILE = SttProfile(PIECES, delay_seconds=0.5)  # as the 1B model: D = 6
D = 6


def profile(**changes: object) -> SttProfile:
    return replace(PROFILE, **changes)  # type: ignore[arg-type]


def audio(frames: float) -> Samples:
    """Samples that are all different from one another and from silence."""
    return np.arange(1, round(frames * FRAME_SIZE) + 1, dtype=np.float32)


def track(*said: tuple[int, Sequence[int | str]]) -> list[int]:
    """A text track by index: each stretch at its index, padding between, text[0] included."""
    tokens: list[int] = []
    for index, stretch in said:
        tokens += [PAD] * (index - len(tokens))
        tokens += [ID[token] if isinstance(token, str) else token for token in stretch]
    return tokens


PerStep = Callable[[int], Any]  # of the text index


def always(value: Any) -> PerStep:
    return lambda _: value


NO_VAD = always(())
EVENS = always(math.log(0.5))


def law(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Holds for whatever the strategies draw; how long a busy machine takes for it says nothing."""
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    return lambda test: patient(given(*strategies)(test))


@dataclass
class Engine:
    """Steps a session; text index j of `tokens` comes back for frame j - 1, padding when the track is over."""

    session: SttSession
    tokens: Sequence[int] = ()
    vad: PerStep = NO_VAD
    logprob: PerStep = EVENS
    index: int = 0  # text[0] is the BOS step's, which the session never sees
    events: list[Event] = field(default_factory=list)
    frames: list[Samples] = field(default_factory=list)
    ticks: int = 0  # empty Vads of a model without heads: counted, and kept out of the events

    def run(self, most: int | None = None) -> list[Event]:
        """Steps what is ready, `most` frames at most; the new events."""
        before = len(self.events)
        while self.session.pending and most != 0:
            self.take()
            self.step()
            most = None if most is None else most - 1
        return self.events[before:]

    def take(self) -> None:
        self.frames.append(self.session.take())

    def step(self) -> list[Event]:
        self.index += 1
        token = self.tokens[self.index] if self.index < len(self.tokens) else PAD
        told = self.session.stepped(token, self.logprob(self.index), self.vad(self.index))
        events = [event for event in told if not (isinstance(event, Vad) and not event.pauses)]
        self.ticks += len(told) - len(events)
        self.events += events
        return events


def hear(tokens: Sequence[int], frames: float, model: SttProfile = PROFILE) -> list[Event]:
    """All events of a stream with that much audio, up to its end."""
    session = SttSession(model)
    session.push(audio(frames))
    session.end()
    return Engine(session, tokens).run()


def words(events: Iterable[Event]) -> list[Word]:
    return [event.word for event in events if isinstance(event, WordEnded)]


def started(events: Iterable[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, WordStarted)]


def text(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))
