"""An engine's process that speaks as a test tells it to: real script machines, and a number for the audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vivavoce.core import FRAME_SIZE, Flushed, Speech, SpeechEvent, WordSpoken
from vivavoce.session import ScriptMachine, TtsProfile, TtsSession

CARD, DEP_Q, HISTORY = 40, 3, 8
PROFILE = TtsProfile(CARD, delay_steps=3, acoustic_delay=2, lookahead=2)  # the released model's, but sooner


def encode(word: str) -> list[int]:
    return [4 + ord(letter) % (CARD - 4) for letter in word]


@dataclass
class Speaker:
    """Obeys what the session says and steps when told to; `sampled` is what the text head says, over and over."""

    session: TtsSession
    sampled: Sequence[int] = (3, 0, 3)
    profile: TtsProfile = PROFILE
    epoch: int = 0
    steps: int = 0  # of the machine's life
    events: list[SpeechEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = ScriptMachine(self.profile, encode)

    def listen(self) -> None:
        """Take what the session has to say."""
        if not self.session.pending:
            return
        script = self.session.take()
        if script.epoch != self.epoch:
            self.epoch, self.machine = script.epoch, ScriptMachine(self.profile, encode)
        for entry in script.entries:
            self.machine.add(entry)
        if script.ended:
            self.machine.end()

    def step(self) -> bool:
        """One step, if the text for it is there; whether it was."""
        if not self.machine.ready or self.machine.finished:
            return False
        at = self.machine.state.steps
        token = self.machine.act(self.sampled[at % len(self.sampled)])
        frame = at - self.profile.first_audio_step
        audio = np.full(FRAME_SIZE, sample(self.epoch, frame), np.float32) if frame >= 0 else None
        codes = [at % 100] * DEP_Q if at >= self.profile.delay_steps else None
        self.events += self.session.stepped(self.epoch, token, codes, audio, self.machine.state)
        return True

    def run(self, most: int = 100_000) -> list[SpeechEvent]:
        """Steps that can be run, `most` at most; the new events."""
        before = len(self.events)
        self.listen()
        while most and self.step():
            most -= 1
            self.listen()
        return self.events[before:]

    def crash(self) -> Speaker:
        """The process is lost; another one goes on from what the session knows."""
        self.session.rewind()
        other = Speaker(self.session, self.sampled, self.profile, self.session.epoch, events=self.events)
        other.machine = ScriptMachine(self.profile, encode, self.session.state)
        return other


def sample(epoch: int, frame: int) -> float:
    """What the audio of a frame is made of: within -0.99 and 0.99, each another."""
    return (epoch * 1000 + frame) / 1e6


def session(profile: TtsProfile = PROFILE) -> TtsSession:
    return TtsSession(profile, DEP_Q, HISTORY)


def say(text: str, sampled: Sequence[int] = (3, 0, 3), profile: TtsProfile = PROFILE) -> list[SpeechEvent]:
    """All events of a stream with that text."""
    stream = session(profile)
    stream.push(text)
    stream.end()
    events = Speaker(stream, sampled, profile).run()
    assert stream.finished
    return events


def words(events: Sequence[SpeechEvent]) -> list[WordSpoken]:
    return [event for event in events if isinstance(event, WordSpoken)]


def frames(events: Sequence[SpeechEvent]) -> list[float]:
    """The audio, one sample of each frame."""
    return [float(event.samples[0]) for event in events if isinstance(event, Speech)]


def told(events: Sequence[SpeechEvent]) -> list[object]:
    """Events that can be compared."""
    return [event if isinstance(event, WordSpoken | Flushed) else float(event.samples[0]) for event in events]
